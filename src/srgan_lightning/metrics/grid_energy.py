"""Detect grid artefacts: peaks in the spectrum of SR at the periods of the sub-pixel convolutions."""

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from srgan_lightning.imaging.ops import round_to_8_bits

#: Side of a window: SIDE HR pixels, rounded down to a multiple of the scale, but at least LR_SIDE LR pixels.
SIDE, LR_SIDE = 64, 16
#: Distances in bins from a peak to its neighbours. The window spreads a peak over one bin on each side.
NEAR, FAR = 3, 5
#: Sums are integers in units of 1 / UNIT, so that the score does not depend on the order of addition.
UNIT = 2**16


class GridEnergy(Metric):
    """Spectral energy at the frequencies of the LR grid, relative to neighbouring frequencies; 1.0 for natural photos.

    A pattern that repeats with every LR pixel, or more often, with a period of 2, 4, ... SR pixels from the sub-pixel
    convolutions, has only the frequencies k / scale along both axes. A grid of dots has all of these frequencies, a
    checkerboard of single pixels only one. The spectrum is computed on windows that overlap by half, and summed over
    red, green and blue. Logarithms are averaged over windows, so that a grid in a flat region counts as much as one in
    texture. The score is the mean of the ratio over frequencies. JPEG files have a grid of 8 pixels, which raises HR's
    score: compare SR with HR.

    Args:
        scale: upscaling factor, at least 2.
    """

    full_state_update = False
    sums: Tensor
    windows: Tensor

    def __init__(self, scale: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        spacing = max(LR_SIDE, SIDE // scale)  # distance between the grid's frequencies, in bins
        self.side = side = spacing * scale
        line = torch.hann_window(side)
        self.window: Tensor
        self.register_buffer("window", line[:, None] * line, persistent=False)
        # The spectrum of real numbers is symmetric about 0: one of each pair of frequencies is enough.
        grid = {max((i, j), (-i % scale, -j % scale)) for i, j in product(range(scale), repeat=2)} - {(0, 0)}
        peaks = [(spacing * i, spacing * j) for i, j in sorted(grid)]
        self.peaks: Tensor
        self.register_buffer("peaks", torch.tensor([i * side + j for i, j in peaks]), persistent=False)
        self.neighbours: Tensor  # (peaks, 2 distances, 4 directions)
        self.register_buffer("neighbours", torch.tensor([_neighbours(*peak, side) for peak in peaks]), persistent=False)
        self.add_state("sums", torch.zeros(len(peaks), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("windows", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, images: Tensor) -> None:
        """Add a batch (B, 3, H, W) of RGB in [0, 1]; images smaller than a window are skipped."""
        step = self.side // 2
        if min(images.shape[-2:]) < self.side:
            return
        for top in range(0, images.shape[-2] - self.side + 1, step):  # one row of windows at a time, for less memory
            band = round_to_8_bits(images[..., top : top + self.side, :].float())
            self._add(band.unfold(-1, self.side, step).permute(0, 3, 1, 2, 4).flatten(0, 1))

    def _add(self, windows: Tensor) -> None:
        """Add windows (N, 3, side, side)."""
        centred = (windows - windows.mean((-2, -1), keepdim=True)) * self.window
        # Every image has the rounding error of 8 bits. Adding its energy avoids 0 / 0 in flat regions.
        rounding = 3 * self.window.square().sum() / 12 / 255**2
        log = (torch.fft.fft2(centred).abs().square().sum(1) + rounding).log().flatten(1)
        near, far = log[:, self.neighbours].mean(-1).unbind(-1)
        # Fit a parabola through the neighbours, because the spectrum is curved, most of all at the highest frequency.
        expected = (FAR**2 * near - NEAR**2 * far) / (FAR**2 - NEAR**2)
        ratio = log[:, self.peaks] - expected
        ratio = ratio[ratio.isfinite().all(dim=1)]
        self.sums += (ratio * UNIT).round().long().sum(dim=0)
        self.windows += len(ratio)

    def compute(self) -> Tensor:
        """Return the mean ratio, a scalar; NaN if no image was as large as a window."""
        return (self.sums / self.windows / UNIT).exp().mean()


def _neighbours(down: int, across: int, side: int) -> list[list[int]]:
    """Return flat indices of the near and far neighbours of a frequency.

    The neighbours of a frequency on an axis lie on the same axis. Window borders and all vertical and horizontal edges
    have their energy on the axes, so the spectrum is much higher there than beside them.
    """
    directions = [(0, 1), (0, -1)] * (not down or bool(across)) + [(1, 0), (-1, 0)] * (not across or bool(down))
    directions *= 4 // len(directions)
    return [
        [(down + y * distance) % side * side + (across + x * distance) % side for y, x in directions]
        for distance in (NEAR, FAR)
    ]
