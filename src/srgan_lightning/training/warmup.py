"""A learning rate that rises from nearly 0 before it falls along a cosine (Loshchilov and Hutter 2017)."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from srgan_lightning.utils.errors import UserError


class WarmupCosine(LRScheduler):
    """Linear from rate / (warmup + 1) to the rate over `warmup` updates, then half a cosine to `eta_min`.

    Each rate is computed from the first one and the count alone, which a checkpoint holds.

    Args:
        optimizer: whose rate it sets.
        T_max: updates of both parts together, by torch's name for it; later ones stay at `eta_min`.
        warmup: updates of the first part; 0 leaves the cosine. A shorter training ends within it.
        eta_min: last rate.

    Raises:
        UserError: a warm-up below 0.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, warmup: int = 0, eta_min: float = 0.0) -> None:  # noqa: N803
        if warmup < 0:
            raise UserError(f"A learning rate schedule has warmup={warmup}: give a number of updates from 0 up.")
        self.T_max, self.warmup, self.eta_min = T_max, warmup, eta_min
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """The rate of each group in the update after `last_epoch`."""
        if self.last_epoch < self.warmup:
            return [base * (self.last_epoch + 1) / (self.warmup + 1) for base in self.base_lrs]  # type: ignore[misc]
        progress = min(1.0, (self.last_epoch - self.warmup) / max(self.T_max - self.warmup, 1))
        share = (1 + math.cos(math.pi * progress)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]  # type: ignore[misc]
