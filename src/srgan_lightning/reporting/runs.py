"""Run directories, read back."""

import csv
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from srgan_lightning.errors import UserError


@dataclass
class Run:
    """One run directory.

    Args:
        path: holds `.hydra/` and what training wrote.
        label: the settings that set it apart from the runs beside it.
    """

    path: Path
    label: str = ""

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def artifact(self) -> Path:
        return self.path / "generator.safetensors"

    @cached_property
    def summary(self) -> dict[str, Any]:
        """`summary.json`, which the end of training writes; empty before."""
        try:
            return dict(json.loads((self.path / "summary.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    @property
    def finished(self) -> bool:
        # A run that was stopped leaves both too: its scores are those of a shorter training.
        stopped = self.summary.get("interrupted", False)
        return "psnr_y" in self.summary and self.artifact.is_file() and not stopped

    @cached_property
    def failure(self) -> str:
        """Why it failed, as its log tells; empty where it does not."""
        for log in sorted(self.path.glob("*.log")):
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
                if "[ERROR]" in line:
                    return line.partition(" failed. ")[2] or f"see {log}"
        return ""

    @property
    def state(self) -> str:
        """`finished`, `failed`, or `unfinished`: stopped, killed or still running."""
        return "finished" if self.finished else "failed" if self.failure else "unfinished"

    @cached_property
    def config(self) -> DictConfig:
        """The configuration that it ran with; raises UserError where it is not to be had."""
        try:
            config = OmegaConf.load(self.path / ".hydra/config.yaml")
        except Exception as error:  # files and YAML
            raise UserError(f"{self.path / '.hydra/config.yaml'} cannot be read: {error}") from error
        if not isinstance(config, DictConfig):
            raise UserError(f"{self.path / '.hydra/config.yaml'} is not a configuration of srgan-lightning.")
        return config

    @cached_property
    def overrides(self) -> dict[str, str]:
        """What was set on the command line or by a sweeper."""
        try:
            lines = OmegaConf.to_container(OmegaConf.load(self.path / ".hydra/overrides.yaml"))
        except Exception:  # a directory that a user has moved or cleaned: labels are all that is lost
            return {}
        pairs = (str(line).partition("=") for line in lines) if isinstance(lines, list) else ()
        return {key: value for key, _, value in pairs}

    def curves(self) -> dict[str, tuple[list[int], list[float]]]:
        """Updates and values of each column of `metrics.csv`.

        Raises:
            UserError: there is none.
        """
        try:
            with (self.path / "metrics.csv").open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if row.get("step")]
        except OSError as error:
            raise UserError(f"{self.path} has no metrics.csv to draw curves from: {error}.") from error
        columns: dict[str, tuple[list[int], list[float]]] = {}
        for row in rows:
            for key, value in row.items():
                if value and key not in ("step", "epoch"):
                    steps, values = columns.setdefault(key, ([], []))
                    steps.append(int(row["step"]))
                    values.append(float(value))
        if not columns:
            raise UserError(f"{self.path / 'metrics.csv'} holds no measurements yet.")
        return columns


def is_run(path: Path) -> bool:
    """Whether a directory is that of one run."""
    return (path / ".hydra").is_dir() or (path / "summary.json").is_file()


def find_runs(path: Path) -> list[Run]:
    """The runs below a directory, in the order of their numbers or names.

    Raises:
        UserError: there are none.
    """
    found = [entry for entry in path.iterdir() if entry.is_dir() and is_run(entry)] if path.is_dir() else []
    if not found:
        deeper = sorted({entry.parents[1] for entry in path.glob("*/*/.hydra")})
        hint = f" Name one sweep: {', '.join(map(str, deeper))}." if deeper else ""
        raise UserError(
            f"{path}: no run in it (looked in {path.absolute()}). Give the directory of a run, "
            f"outputs/<experiment>/<run>, or that of a sweep, multirun/<experiment>/<sweep>.{hint}"
        )
    found.sort(key=lambda entry: (not entry.name.isdigit(), int(entry.name) if entry.name.isdigit() else 0, entry.name))
    runs = [Run(entry) for entry in found]
    varying = [
        key
        for key in dict.fromkeys(key for run in runs for key in run.overrides)
        if len({run.overrides.get(key) for run in runs}) > 1
    ]
    for run in runs:
        run.label = ", ".join(f"{_short(key, varying)}={_rounded(run.overrides.get(key, '-'))}" for key in varying)
    return runs


def _short(key: str, keys: list[str]) -> str:
    """The last part of a key, where no other key ends so."""
    last = key.rsplit(".", 1)[-1]
    return last if [other.rsplit(".", 1)[-1] for other in keys].count(last) == 1 else key


def _rounded(value: str) -> str:
    """A sweeper's 17 digits as three."""
    try:
        return f"{float(value):.3g}"
    except ValueError:
        return value
