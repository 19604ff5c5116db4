"""Keep an exponential moving average (EMA) of the generator's weights."""

from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from srgan_lightning.training.process_mean import process_mean
from srgan_lightning.utils.errors import UserError


def _generator(pl_module: LightningModule) -> nn.Module:
    return cast(nn.Module, pl_module.generator)


class GeneratorEMA(Callback):
    """A callback with an EMA of the generator only, updated once per generator update.

    Validation, checkpoint scores and artifacts use the EMA weights. Lightning's `EMAWeightAveraging` is not
    used, because it copies discriminator and VGG too, and misses updates in manual optimisation.

    Args:
        decay: weight of the previous average, below 1. After n updates it is at most (1 + n) / (10 + n), so that the
            average of a short run does not keep the random initial weights.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"callbacks.ema.decay={decay}: give a number from 0 to below 1, such as 0.999.")
        self.decay, self.updates = decay, 0
        self.swapped = False
        self.average: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        current = _generator(pl_module).state_dict()
        # A resumed run has loaded its average from the checkpoint, on the CPU.
        source = self.average or current
        self.average = {name: source[name].detach().to(value.device, copy=True) for name, value in current.items()}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.updates:  # gradients are still accumulating
            return
        self.updates = trainer.global_step
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        pairs = [(self.average[name], value) for name, value in _generator(pl_module).state_dict().items()]
        floats = [(mean, value) for mean, value in pairs if mean.is_floating_point()]
        update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        update([mean for mean, _ in floats], [value for _, value in floats], self.updates)
        for mean, value in pairs:
            if not mean.is_floating_point():  # BatchNorm's counters are integers, so they are not averaged
                mean.copy_(value)

    def _swap(self, pl_module: LightningModule) -> None:
        current = {name: value.clone() for name, value in _generator(pl_module).state_dict().items()}
        _generator(pl_module).load_state_dict(self.average)
        self.average = current
        self.swapped = not self.swapped

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._swap(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self.swapped:  # a validation was interrupted
            self._swap(pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        buffers = {
            name: self.average[name] for name, _ in _generator(pl_module).named_buffers() if name in self.average
        }
        average = self.average | process_mean(trainer, buffers)  # BatchNorm statistics differ between processes
        checkpoint["generator_ema"] = {name: value.cpu() for name, value in average.items()}

    def state_dict(self) -> dict[str, int]:
        return {"updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.updates = state_dict["updates"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.average = checkpoint.get("generator_ema", {})
