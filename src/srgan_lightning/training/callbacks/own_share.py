"""Which images of a validation a process counts, so that each counts once."""

from lightning import Trainer
from torch import Tensor


class OwnShare:
    """The images whose number belongs to a process, each once in a validation.

    Samplers also give a process images of another's share, to fill its own up, and any may come again in the place of
    one that cannot be read.

    Args:
        trainer: says which process this is.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.rank, self.processes = trainer.global_rank, trainer.world_size
        self.seen: set[int] = set()

    def rows(self, indices: Tensor) -> list[int]:
        """The rows of a batch that count here.

        Args:
            indices: (B,), the numbers of its images.
        """
        new: list[int] = []
        for row, index in enumerate(indices.tolist()):
            if index % self.processes == self.rank and index not in self.seen:
                self.seen.add(index)
                new.append(row)
        return new
