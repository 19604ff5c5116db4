"""Freeze BatchNorm to compare one process with two, because BatchNorm sees only its own process's images."""

from typing import Any

from lightning import Callback
from torch import nn


class FreezeBatchNorm(Callback):
    """Keep all BatchNorm layers in eval mode while the rest trains."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        for module in pl_module.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
