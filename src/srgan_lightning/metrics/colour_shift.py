"""Measure how far a generator changes the colours of its input."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from srgan_lightning.imaging.ops import resize_bicubic, round_to_8_bits

#: Sums are integers in units of 1 / UNIT levels, so that the score does not depend on the order of addition.
UNIT = 2**16


class ColourShift(Metric):
    """Distance between the mean colours of downscaled SR and of LR, in levels of 255; 0 means no shift.

    The distance of an image is the largest of its three channels. The score is the mean over images.
    """

    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, sr: Tensor, lr: Tensor) -> None:
        """Add a batch: sr (B, 3, scale * h, scale * w) and lr (B, 3, h, w), RGB in [0, 1]."""
        small = resize_bicubic(round_to_8_bits(sr.float()), (lr.shape[-2], lr.shape[-1]))
        levels = 255 * (small - lr.float()).mean((-2, -1)).abs().amax(dim=1)
        self.total += (levels.nan_to_num(nan=255.0) * UNIT).round().long().sum()
        self.images += len(levels)

    def compute(self) -> Tensor:
        """Return the mean distance in levels, a scalar; NaN without images."""
        return self.total / self.images / UNIT
