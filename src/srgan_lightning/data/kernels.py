"""Make blur kernels, and filter each image with its own kernel."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def bell_kernels(sigma: Tensor, angle: Tensor, beta: Tensor, plateau: Tensor, sides: Tensor, largest: int) -> Tensor:
    """Make Gaussian, generalised Gaussian and plateau kernels.

    Let q be the squared distance from the centre in units of sigma. A generalised Gaussian is exp(-q^beta / 2);
    beta = 1 gives the Gaussian. A plateau is 1 / (1 + q^beta).

    Args:
        sigma: (B, 2) standard deviations in pixels along the axes of the kernel.
        angle: (B,) rotation of these axes in radians.
        beta: (B,) exponents.
        plateau: (B,) true for plateau kernels.
        sides: (B,) odd kernel sides in pixels, at most `largest`.
        largest: side of the result, odd.

    Returns:
        (B, largest, largest), zero outside `sides`; each kernel sums to 1.
    """
    y, x = _grid(largest, sigma)
    cos, sin = (of(angle)[:, None, None] for of in (torch.cos, torch.sin))
    along, across = (cos * x + sin * y) / sigma[:, 0, None, None], (cos * y - sin * x) / sigma[:, 1, None, None]
    power = (along.square() + across.square()) ** beta[:, None, None]
    kernels = torch.where(plateau[:, None, None], 1 / (1 + power), torch.exp(-0.5 * power))
    return _normalised(kernels, sides)


def sinc_kernels(cutoff: Tensor, sides: Tensor, largest: int) -> Tensor:
    """Make circular low-pass filters, which cause ringing like that of codecs and sharpening.

    Args:
        cutoff: (B,) cutoff frequencies in radians per pixel, up to pi.
        sides: (B,) odd kernel sides in pixels, at most `largest`.
        largest: side of the result, odd.

    Returns:
        (B, largest, largest), zero outside `sides`; each kernel sums to 1.
    """
    y, x = _grid(largest, cutoff)
    radius, cutoff = torch.sqrt(x * x + y * y), cutoff[:, None, None]
    ring = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius.clamp(min=0.5))
    return _normalised(torch.where(radius == 0, cutoff.square() / (4 * math.pi), ring), sides)


def where_kernels(chosen: Tensor, kernels: Tensor, others: Tensor | None = None) -> Tensor:
    """Return `kernels` where `chosen` (B,) is true, and `others` elsewhere. `others` defaults to identity kernels."""
    if others is None:
        others = torch.zeros_like(kernels)
        others[:, kernels.shape[-1] // 2, kernels.shape[-1] // 2] = 1
    return torch.where(chosen[:, None, None], kernels, others)


def filter_images(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each image with its own kernel; beyond the image, the image's border pixels are repeated.

    Args:
        images: (B, C, H, W).
        kernels: (B, K, K), K odd.
    """
    batch, channels, height, width = images.shape
    radius, groups = kernels.shape[-1] // 2, batch * channels
    flat = F.pad(images.contiguous(), (radius,) * 4, mode="replicate")
    flat = flat.view(1, groups, height + 2 * radius, width + 2 * radius)
    # A convolution flips the kernel, but conv2d does not. The result is the same, because these kernels are symmetric.
    flat = F.conv2d(flat, kernels.repeat_interleave(channels, dim=0)[:, None], groups=groups)
    return flat.view(batch, channels, height, width)


def _grid(largest: int, like: Tensor) -> tuple[Tensor, Tensor]:
    place = torch.arange(largest, device=like.device, dtype=torch.float32) - largest // 2
    return place[:, None], place[None, :]


def _normalised(kernels: Tensor, sides: Tensor) -> Tensor:
    y, x = _grid(kernels.shape[-1], kernels)
    inside = torch.maximum(y.abs(), x.abs()) <= (sides // 2)[:, None, None]
    kernels = kernels * inside
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)
