"""Average the discriminator's outputs for HR and SR over more images than one batch has."""

import torch
from torch import Tensor

#: Number of images over which D(HR) and D(SR) are averaged. Values of single batches vary too much.
IMAGES = 256


class Opinion:
    """Running means of D(HR) and D(SR) over about the last `IMAGES` images, kept on the device.

    Attributes:
        sums: shape (3,), or None before the first batch. The third entry is the accumulated weight of all batches. The
            first two are the means of D(HR) and D(SR), each multiplied by this weight.
    """

    def __init__(self) -> None:
        self.sums: Tensor | None = None

    def add(self, real: Tensor, fake: Tensor, images: int) -> None:
        """Add a batch to the means, without waiting for the device.

        A batch with NaN or infinity is ignored.

        Args:
            real: the batch's mean D(HR), a scalar in [0, 1].
            fake: the batch's mean D(SR), also a scalar in [0, 1].
            images: number of images in the batch.
        """
        latest = torch.stack([real, fake, torch.ones_like(real)]).float()
        before = torch.zeros_like(latest) if self.sums is None else self.sums.to(latest.device)
        moved = before.lerp(latest, min(1.0, images / IMAGES))
        self.sums = torch.where(latest.isfinite().all(), moved, before)

    def means(self) -> Tensor:
        """Return the means of D(HR) and D(SR), shape (2,). A batch must have been added before."""
        assert self.sums is not None
        return self.sums[:2] / self.sums[2]

    def state(self) -> list[float] | None:
        """Return the state for a checkpoint."""
        return None if self.sums is None else self.sums.tolist()

    def restore(self, state: list[float] | None) -> None:
        """Load the state from a checkpoint."""
        self.sums = None if state is None else torch.tensor(state)
