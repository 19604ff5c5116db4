"""The traffic between the processes of a training run."""

from typing import Any

import lightning
from torch import Tensor
from torch.distributed import GradBucket
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel


class CountGradientBytes(lightning.Callback):
    """Print, at the end of training, how many bytes of gradients this process has sent."""

    def __init__(self) -> None:
        self.sent = 0

    def _hook(self, group: Any, bucket: GradBucket) -> Future[Tensor]:
        self.sent += bucket.buffer().nbytes
        return allreduce_hook(group, bucket)

    def on_train_start(self, trainer: lightning.Trainer, *_: object) -> None:
        strategy: Any = trainer.strategy
        found = [strategy.model] if isinstance(strategy.model, DistributedDataParallel) else strategy.reducers.values()
        for parallel in found:
            parallel.register_comm_hook(None, self._hook)

    def on_train_end(self, *_: object) -> None:
        print(f"gradients: {self.sent} bytes", flush=True)
