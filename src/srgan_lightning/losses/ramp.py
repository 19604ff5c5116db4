"""Ramp up the weight of a loss term."""

import math

from srgan_lightning.utils.errors import UserError

KINDS = ("linear", "cosine")


class Ramp:
    """A factor for the weight of a term: 0 for `start` updates, then rising to 1 over `length` updates.

    Args:
        start: number of updates without the term.
        length: number of updates over which the factor rises; the factor is above 0 from the first of these updates.
        kind: `linear`, or `cosine`, which starts and ends slowly.

    Raises:
        UserError: a number is below 0, or the kind is unknown.
    """

    def __init__(self, start: int = 0, length: int = 0, kind: str = "linear") -> None:
        if start < 0 or length < 0:
            raise UserError(
                f"loss.adversarial_start={start}, loss.adversarial_ramp={length}: give numbers of updates from 0 up."
            )
        if kind not in KINDS:
            raise UserError(f"loss.adversarial_ramp_kind={kind!r} is unknown: use one of {', '.join(KINDS)}.")
        self.start, self.length, self.kind = start, length, kind

    def __call__(self, updates: int) -> float:
        """Return the factor in [0, 1] for the next update, after `updates` finished ones."""
        if updates < self.start:
            return 0.0
        progress = min(1.0, (updates - self.start + 1) / max(self.length, 1))
        return progress if self.kind == "linear" else (1 - math.cos(math.pi * progress)) / 2
