"""The files of a run directory. Functions here import torch late, so that `report --help` need not wait for it."""

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
        checkpoint: the file from which training is resumed; None to start a new training.
    """

    path: Path
    checkpoint: str | None = None

    @classmethod
    def open(cls, cfg: DictConfig) -> RunDirectory:
        """Return the run directory of `cfg`, and replace `cfg.ckpt_path` by the checkpoint file.

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
        """Return the existing checkpoints, valid or not."""
        return [path for path in self.path.glob(f"{CHECKPOINTS}/*.ckpt") if path.is_file()]

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / LAST

    @property
    def artifact(self) -> Path:
        """The best generator, written at the end of training."""
        return self.path / "generator.safetensors"

    @property
    def discriminator(self) -> Path:
        """The discriminator, if adversarial training has trained one."""
        return self.path / "discriminator.safetensors"

    @property
    def summary(self) -> Path:
        """Scores and metadata of a run that has ended."""
        return self.path / "summary.json"

    @property
    def history(self) -> Path:
        """All logged values by update."""
        return self.path / "metrics.csv"

    @property
    def provenance(self) -> Path:
        """Code, command, settings and data of the run."""
        return self.path / "provenance.json"

    @property
    def log(self) -> Path:
        """The run's terminal output with times; Hydra adds the reason of a failure."""
        return self.path / "train.log"

    @property
    def health_log(self) -> Path:
        """Warnings of the health callbacks."""
        return self.path / "health.log"

    @property
    def lock_file(self) -> Path:
        """The file that is locked while a process trains in this directory."""
        return self.path / ".lock"

    @property
    def hydra(self) -> Path:
        """Hydra's record of the configuration; each later start has a subfolder."""
        return self.path / HYDRA

    @property
    def config(self) -> Path:
        """The composed configuration of the first start."""
        return self.hydra / "config.yaml"

    @property
    def overrides(self) -> Path:
        """The overrides of the command line or a sweeper at the first start."""
        return self.hydra / "overrides.yaml"

    def logs(self) -> list[Path]:
        """Return all log files: `train.log`, `health.log`, and others that Hydra writes."""
        return sorted(self.path.glob("*.log"))

    def wandb_runs(self) -> list[Path]:
        """Return the folders of W&B's runs, `run-DATE_TIME-ID` and `offline-run-DATE_TIME-ID`, oldest first."""
        return sorted(self.path.glob("wandb/*run-*-*"), key=lambda folder: folder.name.removeprefix("offline-"))
