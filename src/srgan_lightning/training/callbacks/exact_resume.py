"""Add to checkpoints what Lightning lacks for a bit-exact resume."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from srgan_lightning.training import lightning_internals, random_state
from srgan_lightning.training.process_mean import process_mean


class ExactResume(Callback):
    """A callback that adds accumulated gradients, RNG states and the precision to checkpoints.

    The callback restores gradients and RNG states. The module `training.precision` reads the precision, before the
    Trainer is created.

    `SuperResolutionModule` adds this callback, so it is not in configurations.
    """

    def __init__(self) -> None:
        self.checkpoint: dict[str, Any] | None = None  # entries still to be restored

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        parameters = pl_module.named_parameters() if pl_module.accumulating else ()
        gradients = {name: parameter.grad for name, parameter in parameters if parameter.grad is not None}
        # Accumulated gradients differ between processes, so save their mean. Gradients from a checkpoint that are not
        # restored yet are such means already.
        waiting = (self.checkpoint or {}).get("gradients")
        checkpoint["gradients"] = waiting or process_mean(trainer, gradients)
        checkpoint["random"] = random_state.capture(pl_module.device)
        checkpoint["precision"] = str(trainer.precision)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.checkpoint = {key: checkpoint.get(key) or {} for key in ("gradients", "random")}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.checkpoint and self.checkpoint["random"]:
            random_state.restore(self.checkpoint["random"], pl_module.device)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.checkpoint:
            for name, gradient in self.checkpoint.pop("gradients").items():  # Lightning has already cleared gradients
                pl_module.get_parameter(name).grad = gradient.to(pl_module.device)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.checkpoint is not None:
            lightning_internals.restart_batches(trainer)
            self.checkpoint = None
