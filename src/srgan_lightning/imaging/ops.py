"""Resize and round by the rules of the metric protocol."""

import torch.nn.functional as F
from torch import Tensor


def resize_bicubic(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, 3, H, W) to (B, 3, *size): antialiased bicubic with a = -0.5, as MATLAB's `imresize`; not clamped."""
    return F.interpolate(image, size=size, mode="bicubic", antialias=True)


def round_to_8_bits(image: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to multiples of 1/255, like writing to an 8-bit file."""
    return image.clamp(0, 1).mul(255).round().div(255)
