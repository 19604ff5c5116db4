"""Measure the generator on whole images."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from srgan_lightning.inference.batchnorm_fusion import fold_batchnorm
from srgan_lightning.networks import Generator
from srgan_lightning.tools.benchmark.reference_step import ReferenceGenerator
from srgan_lightning.tools.benchmark.timing import Result, measure, result

Size = tuple[int, int]
TYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@torch.inference_mode()
def inference(
    device: torch.device, sizes: Sequence[Size], rounds: int, precisions: Sequence[str] = ("32-true",)
) -> list[Result]:
    """Measure the paper's generator with BatchNorm folded and channels last, against the reference.

    Both also have the bicubic skip, which is not in the paper. The command `upscale` prepares the generator in the same
    way, but computes the last layers in tiles.

    Args:
        device: the device.
        sizes: (height, width) of LR.
        rounds: timed calls of each generator.
        precisions: precisions in which this package's generator is measured; the reference runs in float32.

    Returns:
        One result per size and precision, in megapixels of SR per second.
    """
    plain = ReferenceGenerator(global_skip="bicubic").eval().to(device)
    ours = Generator(global_skip="bicubic").eval().to(device)
    ours.load_state_dict(plain.state_dict())
    ours = fold_batchnorm(ours).to(memory_format=torch.channels_last)

    def upscale(lr: Tensor, precision: str) -> None:
        kind = TYPES[precision]
        with torch.autocast(device.type, kind, enabled=kind != torch.float32):
            ours(lr)

    results: list[Result] = []
    for height, width in sizes:
        lr = torch.rand(1, 3, height, width, device=device)
        last = lr.to(memory_format=torch.channels_last)
        functions: dict[str, Callable[[], object]] = {"baseline": partial(plain, lr)}
        functions |= {name: partial(upscale, last, name) for name in precisions}
        seconds = measure(functions, device, rounds)
        megapixels = height * width * plain.scale**2 / 1e6
        for name in precisions:
            pair = {"ours": seconds[name], "baseline": seconds["baseline"]}
            results.append(result("inference", f"LR {width}x{height}", name, "megapixels/s", megapixels, pair))
    return results
