"""Add sensor noise: Gaussian noise, and Poisson noise, which grows with brightness."""

import torch
from torch import Tensor

from srgan_lightning.data.counter_rng import CounterRNG
from srgan_lightning.imaging.resampling import places

LUMA = (0.299, 0.587, 0.114)
PHOTONS = 256  # number of photons for white


def add_noise(
    images: Tensor, size: Tensor, rng: CounterRNG, name: str, gaussian: Tensor, poisson: Tensor, grey: Tensor
) -> Tensor:
    """Add noise to each image, and clamp to [0, 1].

    Args:
        images: (B, 3, H, W), clamped to [0, 1] first.
        size: (B, 2) heights and widths of the images on the canvas (see `imaging.resampling`).
        rng: the RNG of the batch.
        name: name of the degradation pass, for the names of its random numbers.
        gaussian: (B,) standard deviation in levels of 255; 0 for no Gaussian noise.
        poisson: (B,) factor of the Poisson noise; 0 for no Poisson noise.
        grey: (B,) whether the noise is the same in all channels.
    """
    grey = grey[:, None, None, None]
    images = images.clamp(0, 1)
    rows, columns = places(size, (images.shape[-2], images.shape[-1]))
    normal = rng.normal(f"{name} noise", rows, columns, 3)
    normal = torch.where(grey, normal[:, :1], normal)
    luma = (images * images.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    noise = normal * (gaussian / 255)[:, None, None, None]
    noise += poisson_noise(torch.where(grey, luma, images), normal) * poisson[:, None, None, None]
    return (images + noise).clamp_(0, 1)


def poisson_noise(images: Tensor, normal: Tensor) -> Tensor:
    """Return the noise of photon counting, with 256 photons for white.

    Real-ESRGAN uses as many photons as the image has different levels, rounded up to a power of two. That is 256 for
    most images. But a rounding difference can add a level and so double the number, as from 128 levels to 129.

    Here the photon counts are computed from normal numbers, with the first two terms of the Cornish-Fisher expansion.
    The counts nearly have the mean, variance and skewness of the Poisson distribution. No Poisson sampler is needed, so
    every device gives the same noise.

    Args:
        images: (B, C, H, W) in [0, 1].
        normal: standard normal numbers of the same shape.
    """
    mean = images * PHOTONS
    count = (mean + mean.sqrt() * normal + (normal.square() - 1) / 6).round_().clamp_(min=0)
    return torch.where(mean > 0, (count - mean) / PHOTONS, 0.0)
