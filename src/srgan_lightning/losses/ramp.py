"""The weight of a loss term that begins late and rises."""

import math

from srgan_lightning.utils.errors import UserError

KINDS = ("linear", "cosine")


class Ramp:
    """The share of its weight that a term has: 0 for `start` updates, then rising to 1 over `length` updates.

    Args:
        start: updates without the term.
        length: updates from there to the full weight; the first of them has more than 0.
        kind: `linear`, or `cosine`, which begins and ends slowly.

    Raises:
        UserError: a number below 0; an unknown kind.
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
        """The share in [0, 1] after that many updates."""
        if updates < self.start:
            return 0.0
        progress = min(1.0, (updates - self.start + 1) / max(self.length, 1))
        return progress if self.kind == "linear" else (1 - math.cos(math.pi * progress)) / 2
