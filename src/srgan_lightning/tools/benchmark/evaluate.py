"""Measure the evaluation of whole images: SR and scores."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from srgan_lightning.inference.batchnorm_fusion import fold_batchnorm
from srgan_lightning.inference.tiling import super_resolve
from srgan_lightning.metrics.psnr_ssim import luma, psnr_ssim
from srgan_lightning.networks import Generator
from srgan_lightning.tools.benchmark.inference import Size
from srgan_lightning.tools.benchmark.reference_step import ReferenceGenerator
from srgan_lightning.tools.benchmark.timing import Result, measure, result


@torch.inference_mode()
def evaluate(device: torch.device, sizes: Sequence[Size], rounds: int) -> list[Result]:
    """Measure the speed of upscaling followed by PSNR and SSIM in float32, as in `srgan_lightning.evaluate`.

    The baseline is the reference generator with torchmetrics' functions on whole images.

    Args:
        device: the device.
        sizes: (height, width) of LR.
        rounds: timed calls of each function.

    Returns:
        Megapixels of SR per second; `share_of_scoring` is the share of the total time that scoring takes.
    """
    plain = ReferenceGenerator(global_skip="bicubic").eval().to(device)
    generator = Generator(global_skip="bicubic").eval().to(device)
    generator.load_state_dict(plain.state_dict())
    generator = fold_batchnorm(generator).to(memory_format=torch.channels_last)

    def ours(lr: Tensor, hr: Tensor) -> None:
        psnr_ssim(super_resolve(generator, lr), hr, plain.scale)

    def baseline(lr: Tensor, hr: Tensor) -> None:
        plain_scores(plain(lr), hr, plain.scale)

    results: list[Result] = []
    for height, width in sizes:
        lr = torch.rand(1, 3, height, width, device=device)
        hr = torch.rand(1, 3, height * plain.scale, width * plain.scale, device=device)
        sr = super_resolve(generator, lr)
        functions: dict[str, Callable[[], object]] = {
            "ours": partial(ours, lr, hr),
            "baseline": partial(baseline, lr, hr),
            "scoring": partial(psnr_ssim, sr, hr, plain.scale),
        }
        seconds = measure(functions, device, rounds)
        megapixels = hr.shape[-2] * hr.shape[-1] / 1e6
        share = min(seconds["scoring"]) / min(seconds["ours"])
        case = f"LR {width}x{height}"
        results.append(result("evaluate", case, "32-true", "megapixels/s", megapixels, seconds, share_of_scoring=share))
    return results


def plain_scores(sr: Tensor, hr: Tensor, border: int) -> list[Tensor]:
    """Compute the four scores of `psnr_ssim` with torchmetrics, for sr and hr (1, 3, H, W)."""
    a, b = (image[..., border:-border, border:-border].clamp(0, 1).mul(255).round().div(255) for image in (sr, hr))
    scores = []
    for one, other in ((luma(a) / 255, luma(b) / 255), (a, b)):
        scores.append(peak_signal_noise_ratio(one, other, data_range=1.0))
        similarity = structural_similarity_index_measure(one, other, sigma=1.5, kernel_size=11, data_range=1.0)
        assert isinstance(similarity, Tensor)
        scores.append(similarity)
    return scores
