"""Measure images per second by batch size, HR size and number of loader processes."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from srgan_lightning.tools.benchmark.input_pipeline import loader_speed
from srgan_lightning.tools.benchmark.setup import build_module, configure, load_batch, with_bare_step
from srgan_lightning.tools.benchmark.timing import measure
from srgan_lightning.training.build import build_data
from srgan_lightning.utils.cores import usable_cores


def scaling(
    root: Path, device: torch.device, overrides: Sequence[str], rounds: int, batches: int
) -> list[dict[str, Any]]:
    """Measure the bare step for several batch sizes and HR sizes, and the loader for several numbers of processes.

    Only one of them varies at a time.

    Args:
        root: see `configure`.
        device: the device.
        overrides: overrides of the experiment.
        rounds: timed steps for each value.
        batches: timed batches of the loader.
    """
    base, rows = configure(root, device, overrides), []
    grain = 4 * base.scale
    axes = {
        "data.batch_size": sorted({max(base.data.batch_size // part, 2) for part in (8, 4, 2, 1)}),
        "data.crop": sorted({max(base.data.crop * part // 3 // grain, 1) * grain for part in (1, 2, 3)})
        if base.data.crop
        else [],  # whole images have a fixed size
    }
    for option, values in axes.items():
        for value in values:
            cfg = configure(root, device, [*overrides, f"{option}={value}"])
            module, data = build_module(cfg), build_data(cfg)
            hr = load_batch(data)["hr"]
            seconds = statistics.median(
                with_bare_step(cfg, module, data, lambda step: measure({"ours": step}, device, rounds)["ours"])
            )
            megapixels = len(hr) * hr.shape[-1] * hr.shape[-2] / 1e6
            rows.append(
                {
                    "option": option,
                    "value": value,
                    "images/s": len(hr) / seconds,
                    "HR megapixels/s": megapixels / seconds,
                }
            )
    cores = usable_cores()
    for workers in sorted({1, *(number for number in (2, 4, 8, 16) if number <= cores)}):
        speed = loader_speed(base, workers, batches)
        rows.append({"option": "data.num_workers (the loader alone)", "value": workers, "images/s": speed})
    return rows
