"""Report health warnings on the terminal, in `health.log` of the run directory, and as W&B alerts."""

from pathlib import Path

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only

from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.runs.log import LOG
from srgan_lightning.training.wandb_logger import RunWandbLogger


@rank_zero_only
def log_health(trainer: Trainer, event: str, text: str) -> None:
    """Print a line and append it to `health.log` at once; with `logger=wandb` also send an alert.

    Args:
        trainer: the Trainer, for the update and the loggers.
        event: title of the alert, fixed words such as `discriminator wins`.
        text: the problem, and the options that help.
    """
    line = f"Health, update {trainer.global_step}: {text}"
    LOG.info(line)
    log = RunDirectory(Path(trainer.default_root_dir)).health_log
    with log.open("a+", encoding="utf-8", errors="replace") as file:
        file.seek(0)
        if line not in file.read().splitlines():  # a run that was killed repeats updates when it is resumed
            file.write(line + "\n")
    for logger in trainer.loggers:
        if isinstance(logger, RunWandbLogger):
            logger.alert(f"Health: {event}", line)
