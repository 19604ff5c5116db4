"""Stop a training that no longer improves."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from srgan_lightning.runs.log import LOG
from srgan_lightning.utils.errors import UserError


class EarlyStop(EarlyStopping):
    """Lightning's `EarlyStopping`, checked after every validation, with a message when it stops a run.

    It stops a run at once if the score is NaN or infinite. A resumed run continues the count of validations in its
    checkpoint, but uses the configured patience.

    Args:
        monitor: the score, such as `val/swd`.
        mode: `min` if lower is better, or `max`.
        patience: number of validations without a new best score after which training stops.

    Raises:
        UserError: the patience is below 1, or the first validation has not logged `monitor`.
    """

    def __init__(self, monitor: str, mode: str, patience: int) -> None:
        if patience < 1:
            raise UserError(f"callbacks.early_stop.patience={patience}: give a number of validations from 1.")
        super().__init__(monitor, mode=mode, patience=patience, check_on_train_epoch_end=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._should_skip_check(trainer):
            return
        if self.monitor not in trainer.callback_metrics:
            scores = ", ".join(sorted(name for name in trainer.callback_metrics if name.startswith("val/")))
            raise UserError(f"callbacks.early_stop.monitor={self.monitor} is not logged: use one of {scores}.")
        super().on_validation_end(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        if self.stopping_reason == EarlyStoppingReason.NON_FINITE_METRIC:
            current = float(trainer.callback_metrics[self.monitor])
            LOG.info(
                "Stopping at update %s: %s is %s, and the best so far is %.4g.",
                trainer.global_step, self.monitor, current, float(self.best_score),
            )  # fmt: skip
        elif self.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
            LOG.info(
                "Stopping at update %s: %s has not improved on %.4g in the last %s validations "
                "(callbacks.early_stop.patience=%s).",
                trainer.global_step, self.monitor, float(self.best_score), self.wait_count, self.patience,
            )  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})
        self.stopping_reason = EarlyStoppingReason.NOT_STOPPED
