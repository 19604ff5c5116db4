"""What the discriminator makes of HR and SR, over more images than one batch has."""

import torch
from torch import Tensor

#: Images over which D(HR) and D(SR) are averaged: those of one batch jump.
IMAGES = 256


class Opinion:
    """Running means of D(HR) and D(SR) over about the last `IMAGES` images, kept on the device.

    Attributes:
        sums: (3,): both means, times the weight that they have gathered, and this; None before the first batch.
    """

    def __init__(self) -> None:
        self.sums: Tensor | None = None

    def add(self, real: Tensor, fake: Tensor, images: int) -> None:
        """Move the means by one batch, without waiting for the device; one that is not finite leaves no trace.

        Args:
            real: the batch's mean D(HR), a scalar in [0, 1].
            fake: D(SR) likewise.
            images: in the batch.
        """
        latest = torch.stack([real, fake, torch.ones_like(real)]).float()
        before = torch.zeros_like(latest) if self.sums is None else self.sums.to(latest.device)
        moved = before.lerp(latest, min(1.0, images / IMAGES))
        self.sums = torch.where(latest.isfinite().all(), moved, before)

    def means(self) -> Tensor:
        """D(HR) and D(SR), a tensor of two; after the first batch."""
        assert self.sums is not None
        return self.sums[:2] / self.sums[2]

    def state(self) -> list[float] | None:
        """For a checkpoint."""
        return None if self.sums is None else self.sums.tolist()

    def restore(self, state: list[float] | None) -> None:
        """Take over a checkpoint's."""
        self.sums = None if state is None else torch.tensor(state)
