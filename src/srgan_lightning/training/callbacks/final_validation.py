"""A last validation where training ends."""

from typing import Any

from lightning import Callback, LightningModule, Trainer


class FinalValidation(Callback):
    """Validates after the last update too, so that the end of a run can be its best checkpoint.

    Lightning stops at `max_steps` wherever that falls between validations; a stop that is asked for validates first.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        last_step = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
        epochs = trainer.max_epochs
        last_epoch = epochs not in (None, -1) and trainer.current_epoch + 1 >= epochs and trainer.is_last_batch
        if last_step or last_epoch:
            trainer.should_stop = True
