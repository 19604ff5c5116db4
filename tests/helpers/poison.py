"""Plant NaN in the images of chosen updates, on one process."""

from pathlib import Path
from typing import Any

import lightning
import torch


def poison(*updates: int, key: str = "hr", rank: int = 0) -> str:
    """Return the override that adds `PoisonBatch`."""
    target = "tests.helpers.poison.PoisonBatch"
    return f"+callbacks.poison={{_target_: {target}, updates: {list(updates)}, key: {key}, rank: {rank}}}"


class PoisonBatch(lightning.Callback):
    """Set one pixel of `key` to NaN if `global_step` is in `updates`; write the weights at the end."""

    def __init__(self, updates: list[int], key: str = "hr", rank: int = 0) -> None:
        self.updates, self.key, self.rank = updates, key, rank

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step in self.updates and trainer.global_rank == self.rank:
            batch[self.key][1, 0, 2, 3] = float("nan")

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        torch.save(pl_module.state_dict(), Path(trainer.default_root_dir) / f"rank{trainer.global_rank}.pt")
