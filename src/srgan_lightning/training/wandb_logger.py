"""Lightning's W&B logger with panels by group, the best value of each score in the summary, and alerts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from srgan_lightning.runs.log import LOG

#: W&B groups panels by what stands before a slash. The names in metrics.csv stay as old runs have them.
GROUPED = {
    "d_real": "discriminator/d_real",
    "d_fake": "discriminator/d_fake",
    "batch": "progress/batch",
    "epoch": "progress/epoch",
    "images_per_second": "progress/images_per_second",
}
#: Which value of a run's curve W&B's table of runs shows, beside the last one.
BEST = {
    "val/psnr_y": "max",
    "val/ssim_y": "max",
    "val/psnr_rgb": "max",
    "val/ssim_rgb": "max",
    "val/swd": "min",
}
TITLE_LENGTH = 63  # most that W&B takes for an alert


class RunWandbLogger(WandbLogger):
    """See the module; takes the options of `WandbLogger`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._wandb_init.pop("anonymous", None)  # W&B warns of it at every start, whatever its value

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
        """Send a warning to whoever follows the run, by the e-mail or Slack of their W&B settings.

        Args:
            title: up to 63 characters; W&B sends the same one once a minute at most.
            text: what to read.
        """
        with self.best_effort("alert"):
            self.experiment.alert(title=title[:TITLE_LENGTH], text=text, level="WARN")

    @contextmanager
    def best_effort(self, what: str) -> Iterator[None]:
        """Report a failure of W&B and go on: no training is lost for what it only shows."""
        try:
            yield
        except Exception as error:  # W&B's service may be gone, or the disk full, in many forms
            LOG.info("W&B: the %s is not logged (%s: %s).", what, type(error).__name__, error)
