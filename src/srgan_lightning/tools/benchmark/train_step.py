"""Measure the training step against the reference implementation."""

from collections.abc import Callable
from functools import partial

import torch
from omegaconf import DictConfig
from torch.utils.flop_counter import FlopCounterMode

from srgan_lightning.tools.benchmark.inference import TYPES
from srgan_lightning.tools.benchmark.reference_step import ReferenceStep
from srgan_lightning.tools.benchmark.setup import build_module, load_batch, with_bare_step
from srgan_lightning.tools.benchmark.timing import (
    Result,
    matmul_peak,
    measure,
    peak_memory,
    reset_peak_memory,
    result,
)
from srgan_lightning.training.build import build_data

Step = Callable[[], None]


def count_flops(step: Step) -> int:
    """Count the FLOPs of matrix products and convolutions in one call, forward and backward."""
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def train_step(cfg: DictConfig, device: torch.device, rounds: int, quick: bool) -> Result:
    """Measure one update of all networks, from uint8 HR on the CPU, for this package and for the reference.

    Args:
        cfg: the configuration of the experiment.
        device: the device.
        rounds: timed steps of each implementation.
        quick: measure the peak with small matrices, and warm up less.

    Returns:
        Images per second, FLOPs per image, the share that their product is of the FLOP/s measured by `matmul_peak` in
        the same precision, and peak memory.
    """
    module, data = build_module(cfg), build_data(cfg)
    batch = load_batch(data)
    reference = ReferenceStep(module, data.degradation, device)
    baseline = partial(reference.step, batch)
    images = len(batch["hr"])
    precision = str(cfg.trainer.precision)
    peaks = {name: matmul_peak(device, TYPES[name], quick) for name in {"32-true", precision}}

    def work(step: Step) -> Result:
        flops, baseline_flops = count_flops(step) / images, count_flops(baseline) / images
        memory = {}
        for way, function in (("ours", step), ("baseline", baseline)):
            reset_peak_memory(device)
            function()
            memory[way] = peak_memory(device)
        # The calls above compiled the step and let cuDNN choose its algorithms. Warm up with further calls.
        seconds = measure({"ours": step, "baseline": baseline}, device, rounds, warmup=1 if quick else 2)
        line = result("train_step", f"{cfg.name}, HR {describe(batch['hr'])}", precision, "images/s", images, seconds)
        return {
            **line,
            "flops_per_image": flops,
            "baseline_flops_per_image": baseline_flops,
            "matmul_peak": peaks[precision],
            "share_of_peak": line["ours"] * flops / peaks[precision],
            "baseline_share_of_peak": line["baseline"] * baseline_flops / peaks["32-true"],
            "peak_memory": memory["ours"],
            "baseline_peak_memory": memory["baseline"],
        }

    return with_bare_step(cfg, module, data, work)  # type: ignore[no-any-return]


def describe(images: torch.Tensor) -> str:
    """Format the size and number of the images in a batch, such as `96x96 x 16`."""
    return f"{images.shape[-1]}x{images.shape[-2]} x {len(images)}"
