"""Learning rate warm-up, followed by a cosine schedule (Loshchilov and Hutter 2017)."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from srgan_lightning.utils.errors import UserError


class WarmupCosine(LRScheduler):
    """A linear rise from rate / (warmup + 1) to the rate over `warmup` updates, then half a cosine down to `eta_min`.

    Each rate is computed only from the initial rate and the count of updates, which checkpoints save.

    Args:
        optimizer: the optimiser whose learning rate the schedule sets.
        T_max: number of updates of the rise and the cosine together; later updates use `eta_min`. The name is torch's.
        warmup: number of updates of the rise; 0 for a cosine only.
        eta_min: final rate.

    Raises:
        UserError: `warmup` is below 0.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, warmup: int = 0, eta_min: float = 0.0) -> None:  # noqa: N803
        if warmup < 0:
            raise UserError(f"warmup={warmup} of a learning rate schedule: give a number of updates from 0 up.")
        self.T_max, self.warmup, self.eta_min = T_max, warmup, eta_min
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """Return the rate of each parameter group for the next update.

        `last_epoch` is torch's name for the number of updates made.
        """
        if self.last_epoch < self.warmup:
            return [base * (self.last_epoch + 1) / (self.warmup + 1) for base in self.base_lrs]  # type: ignore[misc]
        progress = min(1.0, (self.last_epoch - self.warmup) / max(self.T_max - self.warmup, 1))
        share = (1 + math.cos(math.pi * progress)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]  # type: ignore[misc]
