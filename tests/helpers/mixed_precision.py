"""16-mixed on the CPU, for which Lightning has no flag."""

from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch.plugins import MixedPrecision


class Scaled(Callback):
    """Train in 16-mixed on the CPU.

    Args:
        **options: see `torch.amp.GradScaler`.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=256, **self.options)
        trainer.strategy.precision_plugin = MixedPrecision("16-mixed", "cpu", scaler)
