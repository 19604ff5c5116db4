"""Select the images of a validation that a process counts, so that each image counts once."""

from lightning import Trainer
from torch import Tensor


class OwnShare:
    """The images that one process counts in a validation: its share of all indices, each only once.

    The process's batches can also hold images that must not count. A distributed sampler repeats images to give all
    processes equally many, and on_error=skip replaces an unreadable image by another one.

    Args:
        trainer: the Trainer, for rank and number of processes.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.rank, self.processes = trainer.global_rank, trainer.world_size
        self.seen: set[int] = set()

    def rows(self, indices: Tensor) -> list[int]:
        """Return the rows of a batch that count in this process.

        Args:
            indices: (B,) indices of the images.
        """
        new: list[int] = []
        for row, index in enumerate(indices.tolist()):
            if index % self.processes == self.rank and index not in self.seen:
                self.seen.add(index)
                new.append(row)
        return new
