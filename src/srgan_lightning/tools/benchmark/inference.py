"""The generator on whole images."""

from collections.abc import Sequence
from functools import partial

import torch

from srgan_lightning.inference.batchnorm_fusion import fold_batchnorm
from srgan_lightning.networks import Generator
from srgan_lightning.tools.benchmark.reference_step import ReferenceGenerator
from srgan_lightning.tools.benchmark.timing import Result, measure, result

Size = tuple[int, int]


@torch.inference_mode()
def inference(device: torch.device, sizes: Sequence[Size], rounds: int) -> list[Result]:
    """The paper's generator as `upscale` runs it, BatchNorm folded and channels_last, against the textbook's.

    Args:
        device: where.
        sizes: (height, width) of LR.
        rounds: timed calls of each.

    Returns:
        One result for each size, in megapixels of SR per second.
    """
    plain = ReferenceGenerator(global_skip="bicubic").eval().to(device)
    ours = Generator(global_skip="bicubic").eval().to(device)
    ours.load_state_dict(plain.state_dict())
    ours = fold_batchnorm(ours).to(memory_format=torch.channels_last)
    results: list[Result] = []
    for height, width in sizes:
        lr = torch.rand(1, 3, height, width, device=device)
        last = lr.to(memory_format=torch.channels_last)
        seconds = measure({"ours": partial(ours, last), "baseline": partial(plain, lr)}, device, rounds)
        megapixels = height * width * plain.scale**2 / 1e6
        results.append(result("inference", f"LR {width}x{height}", "megapixels/s", megapixels, seconds))
    return results
