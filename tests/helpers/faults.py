"""A process that fails during training."""

import os
import signal
import time

import lightning


class Die(lightning.Callback):
    """End one process after its first step.

    Args:
        rank: of the process.
        how: `kill`, as the system does when memory is short, or `raise`.
    """

    def __init__(self, rank: int, how: str) -> None:
        self.rank, self.how = rank, how

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.global_rank == self.rank:
            print(f"died at {time.time()}", flush=True)
            if self.how == "raise":
                raise RuntimeError("rank is broken")
            os.kill(os.getpid(), signal.SIGKILL)
