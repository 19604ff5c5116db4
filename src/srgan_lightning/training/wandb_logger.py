"""Extend Lightning's W&B logger by panel groups, the best value of each score in the summary, and alerts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from srgan_lightning.runs.log import LOG

#: Names of metrics in W&B, which groups panels by the part before a slash. metrics.csv uses the names on the left,
#: so that it has the same columns as in older runs.
GROUPED = {
    "d_real": "discriminator/d_real",
    "d_fake": "discriminator/d_fake",
    "batch": "progress/batch",
    "epoch": "progress/epoch",
    "images_per_second": "progress/images_per_second",
}
#: The best value of a curve: its maximum or minimum. W&B's table of runs shows it next to the last value.
BEST = {
    "val/psnr_y": "max",
    "val/ssim_y": "max",
    "val/psnr_rgb": "max",
    "val/ssim_rgb": "max",
    "val/swd": "min",
}
TITLE_LENGTH = 63  # characters: W&B's limit for the title of an alert


class RunWandbLogger(WandbLogger):
    """Lightning's `WandbLogger` with the same options, and with panel groups, best values and alerts."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._wandb_init.pop("anonymous", None)  # W&B warns of this option at every start

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        new = self._experiment is None
        run = super().experiment
        if new:
            for name, best in BEST.items():
                run.define_metric(name, step_metric="trainer/global_step", step_sync=True, summary=f"{best},last")
        return run

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        super().log_metrics({GROUPED.get(name, name): value for name, value in metrics.items()}, step)

    @rank_zero_only
    def alert(self, title: str, text: str) -> None:
        """Send an alert by e-mail or Slack, as the user's W&B settings say.

        Args:
            title: up to 63 characters; W&B sends alerts with the same title at most once a minute.
            text: the message.
        """
        with self.best_effort("alert"):
            self.experiment.alert(title=title[:TITLE_LENGTH], text=text, level="WARN")

    @contextmanager
    def best_effort(self, what: str) -> Iterator[None]:
        """Report a failure of W&B and continue, because a display must not stop a training."""
        try:
            yield
        except Exception as error:  # of many types, such as for a dead W&B service or a full disk
            LOG.info("W&B: the %s is not logged (%s: %s).", what, type(error).__name__, error)
