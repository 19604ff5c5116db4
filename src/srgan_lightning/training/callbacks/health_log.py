"""Where the callbacks that guard a training speak: terminal, `health.log` in the run directory, alerts of W&B."""

from pathlib import Path

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only

from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.runs.log import LOG
from srgan_lightning.training.wandb_logger import RunWandbLogger


@rank_zero_only
def log_health(trainer: Trainer, event: str, text: str) -> None:
    """Print a line and keep it, also for a run that is killed later; with `logger=wandb` it is an alert too.

    Args:
        trainer: at which update, and with which loggers.
        event: a few words, the same each time, such as `discriminator wins`: the title of the alert.
        text: what is wrong, and the options that help.
    """
    line = f"Health, update {trainer.global_step}: {text}"
    LOG.info(line)
    with RunDirectory(Path(trainer.default_root_dir)).health_log.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    for logger in trainer.loggers:
        if isinstance(logger, RunWandbLogger):
            logger.alert(f"Health: {event}", line)
