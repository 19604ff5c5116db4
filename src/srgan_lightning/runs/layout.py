"""The files of a run directory. Light: `report` and the command line import it, so torch is imported on use."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

CHECKPOINTS = "checkpoints"
LAST = f"{CHECKPOINTS}/last.ckpt"
HYDRA = ".hydra"


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run, with the name of every file in it.

    Args:
        path: the directory; it need not exist yet.
        checkpoint: the file that training is resumed from; None starts from the beginning.
    """

    path: Path
    checkpoint: str | None = None

    @classmethod
    def open(cls, cfg: DictConfig) -> RunDirectory:
        """The directory that a configuration writes to; `ckpt_path` becomes the file that it means.

        Raises:
            UserError: `ckpt_path=last`, and there is no valid checkpoint.
        """
        from srgan_lightning.runs.resume import find_checkpoint

        cfg.ckpt_path = find_checkpoint(cfg.ckpt_path, cls(Path(cfg.run_dir)))
        return cls(Path(cfg.run_dir), cfg.ckpt_path)

    def lock(self) -> AbstractContextManager[None]:
        """Keep other runs from writing here; see `resume.lock_run_directory`."""
        from srgan_lightning.runs.resume import lock_run_directory

        return lock_run_directory(self)

    def checkpoints(self) -> list[Path]:
        """The checkpoints that are there, valid or not."""
        return [path for path in self.path.glob(f"{CHECKPOINTS}/*.ckpt") if path.is_file()]

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / LAST

    @property
    def artifact(self) -> Path:
        """The best generator, written where training ends."""
        return self.path / "generator.safetensors"

    @property
    def discriminator(self) -> Path:
        """The discriminator beside it, where stage two has trained one."""
        return self.path / "discriminator.safetensors"

    @property
    def summary(self) -> Path:
        """The scores and facts of a run that has ended."""
        return self.path / "summary.json"

    @property
    def history(self) -> Path:
        """What was logged, by update."""
        return self.path / "metrics.csv"

    @property
    def provenance(self) -> Path:
        """By what code, command, settings and data the run was made."""
        return self.path / "provenance.json"

    @property
    def log(self) -> Path:
        """What the run reported on the terminal, with the time; Hydra adds why it failed."""
        return self.path / "train.log"

    @property
    def health_log(self) -> Path:
        """The warnings of the callbacks that guard a training."""
        return self.path / "health.log"

    @property
    def lock_file(self) -> Path:
        """Locked while a process trains here."""
        return self.path / ".lock"

    @property
    def hydra(self) -> Path:
        """Hydra's record of the configuration; of later starts in folders within it."""
        return self.path / HYDRA

    @property
    def config(self) -> Path:
        """The composed configuration of the first start."""
        return self.hydra / "config.yaml"

    @property
    def overrides(self) -> Path:
        """What was set on the command line or by a sweeper, at the first start."""
        return self.hydra / "overrides.yaml"

    def logs(self) -> list[Path]:
        """Hydra's logs, `train.log`, and `health.log`."""
        return sorted(self.path.glob("*.log"))

    def wandb_runs(self) -> list[Path]:
        """The folders of W&B's runs, oldest first: `run-DATE_TIME-ID`, or `offline-run-...`."""
        return sorted(self.path.glob("wandb/*run-*-*"))
