"""Where the callbacks that guard a training speak: the terminal and `health.log` in the run directory."""

from pathlib import Path

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only

from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.runs.log import LOG


@rank_zero_only
def log_health(trainer: Trainer, text: str) -> None:
    """Print a line and keep it, also for a run that is killed later."""
    line = f"Health, update {trainer.global_step}: {text}"
    LOG.info(line)
    with RunDirectory(Path(trainer.default_root_dir)).health_log.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
