"""Keep a training's state in memory for rollbacks."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from srgan_lightning.training.callbacks.generator_ema import GeneratorEMA

#: Keys of a parameter group that hold learning rates. Schedules compute the next rate from them.
RATES = ("lr", "initial_lr", "max_lr", "min_lr")


class Snapshot:
    """A copy of weights and BatchNorm statistics of all networks, optimiser moments and the generator's EMA.

    The copy is kept in CPU memory. With Adam and EMA it has three to four times the size of the weights. The Trainer's
    counters, schedules, the order of the data and RNG states are left out, so that a training after a rollback does not
    repeat the same batches.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.step = trainer.global_step
        self.weights = _copy(pl_module.state_dict())
        self.moments = [_copy(optimizer.state_dict()["state"]) for optimizer in trainer.optimizers]
        self.averages = [_copy(ema.average) for ema in _averages(trainer)]

    def restore(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the state, but keep the current learning rates."""
        pl_module.load_state_dict(self.weights)
        for optimizer, moments in zip(trainer.optimizers, self.moments, strict=True):
            groups = optimizer.state_dict()["param_groups"]
            # Load a copy, because on a CPU the optimiser would use and change the snapshot's own tensors.
            optimizer.load_state_dict({"state": _copy(moments), "param_groups": groups})
        for ema, average in zip(_averages(trainer), self.averages, strict=True):
            for name, value in average.items():
                ema.average[name].copy_(value)


def scale_learning_rates(trainer: Trainer, factor: float) -> None:
    """Multiply the current and the scheduled learning rates of all optimisers."""
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            group.update({key: group[key] * factor for key in RATES if key in group})
    for config in trainer.lr_scheduler_configs:
        for schedule in (config.scheduler, *getattr(config.scheduler, "_schedulers", ())):
            if hasattr(schedule, "base_lrs"):
                schedule.base_lrs = [rate * factor for rate in schedule.base_lrs]


def _copy(tensors: Any) -> Any:
    return apply_to_collection(tensors, Tensor, lambda tensor: tensor.detach().to("cpu", copy=True))


def _averages(trainer: Trainer) -> list[GeneratorEMA]:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, GeneratorEMA)]
