"""Validate at the end of training."""

from typing import Any

from lightning import Callback, LightningModule, Trainer


class FinalValidation(Callback):
    """A callback that validates after the last update.

    Without a validation score, the last weights cannot become the best checkpoint. Lightning stops at `max_steps`
    without validation, but validates before it stops for `should_stop`. So this callback sets `should_stop`.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        last_step = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
        epochs = trainer.max_epochs
        last_epoch = epochs not in (None, -1) and trainer.current_epoch + 1 >= epochs and trainer.is_last_batch
        if last_step or last_epoch:
            trainer.should_stop = True
