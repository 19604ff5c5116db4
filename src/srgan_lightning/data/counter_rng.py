"""A counter-based RNG, whose random numbers follow from one number per image.

torch's generators differ between devices, and give an image other numbers in another batch. Here every number is a hash
of the image's `degradation_u`, a name and, for noise, the pixel's position. So a number does not depend on the batch,
on earlier draws, or on steps that are switched off.
"""

import math
from collections.abc import Sequence
from zlib import crc32

import torch
from torch import Tensor


class CounterRNG:
    """Random numbers for a batch.

    Args:
        u: (B,) numbers in [0, 1], one per image; their float32 bits are the seeds.
    """

    def __init__(self, u: Tensor) -> None:
        self.seeds = _mix(u.float().view(torch.int32))

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return (B,) numbers from `low` to `high`, in steps of 2 ** -24 of the range; rounding can give `high`."""
        return low + (high - low) * self._fraction(name)

    def chance(self, name: str, probability: float) -> Tensor:
        """Return (B,) booleans that are true with that probability."""
        return self._fraction(name) < probability

    def choice(self, name: str, weights: Sequence[float]) -> Tensor:
        """Return (B,) indices of `weights`, drawn with probabilities proportional to the weights."""
        total, below = sum(weights), 0.0
        chosen = torch.zeros_like(self.seeds, dtype=torch.int64)
        fraction = self._fraction(name)
        for weight in weights[:-1]:
            below += weight
            chosen += fraction >= below / total
        return chosen

    def normal(self, name: str, rows: Tensor, columns: Tensor, channels: int) -> Tensor:
        """Return standard normal numbers for pixels.

        Args:
            name: name of the noise field.
            rows: (B, H) row indices below 65536.
            columns: (B, W) column indices below 65536. Within a channel of an image, pixels with the same row and
                column index get the same number.
            channels: number of channels C.

        Returns:
            (B, C, H, W).
        """
        of_row = _mix(self._key(name)[:, None] + rows.int() * 65537)
        channel = torch.arange(channels, device=rows.device, dtype=torch.int32)[:, None, None]
        bits = _mix(of_row[:, None, :, None] + (columns.int()[:, None, None, :] * channels + channel))
        # Take the middles of 2 ** 24 equal intervals of [-1, 1], so that erfinv never gets -1 or 1.
        return torch.erfinv((bits >> 8).float().add_(0.5).mul_(2.0**-23)).mul_(math.sqrt(2))

    def _fraction(self, name: str) -> Tensor:
        return (_mix(self._key(name)) >> 8 & 0xFFFFFF).float() * 2.0**-24

    def _key(self, name: str) -> Tensor:
        return _mix(self.seeds ^ _signed(crc32(name.encode())))


def _mix(bits: Tensor) -> Tensor:
    """Mix 32 bits so that each depends on all (Wellons' lowbias32), in int32, which every device supports."""
    bits = (bits ^ (bits >> 16 & 0xFFFF)) * _signed(0x7FEB352D)
    bits = (bits ^ (bits >> 15 & 0x1FFFF)) * _signed(0x846CA68B)
    return bits ^ (bits >> 16 & 0xFFFF)


def _signed(bits: int) -> int:
    return bits - 2**32 if bits >= 2**31 else bits
