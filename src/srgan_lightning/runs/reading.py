"""Read run directories."""

import json
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from srgan_lightning.runs.history import parse_history
from srgan_lightning.runs.layout import HYDRA, RunDirectory
from srgan_lightning.runs.untrusted_files import References, printable, read_text, read_yaml
from srgan_lightning.utils.errors import UserError

#: Entries of summary.json that are needed to compare a run.
NEEDED = ("psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y")
#: Maximum sizes of a log and of metrics.csv.
LOG_BYTES, CURVE_BYTES = 10_000_000, 500_000_000
#: A line that every start, also a resumed one, writes to train.log before it trains: `processes.images_per_update`.
START = re.compile(r"^\[[-0-9 :,]+\] \d+ images per update ", re.MULTILINE)
#: Numbers above this limit, which is just above the largest float32, count as damage.
LARGEST = 3.5e38


@dataclass
class Run:
    """One run directory.

    Args:
        path: the directory, with `.hydra/` and the results of training.
        label: the settings that differ from the other runs of a sweep.
    """

    path: Path
    label: str = ""

    @property
    def files(self) -> RunDirectory:
        return RunDirectory(self.path)

    @property
    def name(self) -> str:
        return printable(self.path.name)

    @property
    def artifact(self) -> Path:
        return self.files.artifact

    @cached_property
    def summary(self) -> dict[str, Any]:
        """`summary.json`, written at the end of training; empty if it is missing or damaged."""
        try:
            summary = json.loads(read_text(self.files.summary))
        except (OSError, ValueError, RecursionError):
            return {}
        return summary if isinstance(summary, dict) else {}

    @cached_property
    def damage(self) -> str:
        """The damage that keeps an ended run from being compared.

        Empty if there is none, if the run has not ended, or if it saved no checkpoint.
        """
        if not self.files.summary.exists() or self.summary.get("interrupted") is True:
            return ""
        if not self.summary:
            return "its summary.json is damaged"
        if not self.artifact.exists():
            return ""  # the run saved no checkpoint
        named = [*NEEDED, *(name for name in ("swd", "bicubic_swd") if name in self.summary)]
        if unlike := [name for name in named if not _is_number(self.summary.get(name))]:
            return f"its summary.json has no number for {', '.join(unlike)}"
        from srgan_lightning.artifacts.load import stored_scale  # imported here, so that --help does not wait for torch

        try:
            scale = stored_scale(self.artifact)
            if self.scale != scale:
                return f"its configuration has scale={self.scale}, its generator.safetensors {scale}"
        except UserError as error:
            return printable(error)
        return ""

    @property
    def finished(self) -> bool:
        # A stopped run has both files too, but its scores are those of a shorter training.
        stopped = self.summary.get("interrupted", False)
        return "psnr_y" in self.summary and self.artifact.is_file() and not stopped and not self.damage

    @cached_property
    def failure(self) -> str:
        """The reason why the run failed at its last start, from its logs; empty if they have none."""
        for log in self.files.logs():
            try:
                last_start = START.split(read_text(log, LOG_BYTES))[-1]
            except (OSError, ValueError):
                continue  # look in the next log
            # From the end: a later start may have failed before the line by which starts are found.
            for line in reversed(last_start.splitlines()):
                if "[ERROR]" in line:
                    return printable(line.partition(" failed. ")[2]) or f"see {printable(log)}"
        return ""

    @property
    def state(self) -> str:
        """`finished`, `damaged`, `failed`, or `unfinished`: stopped, killed or still running."""
        if self.finished:
            return "finished"
        return "damaged" if self.damage else "failed" if self.failure else "unfinished"

    @cached_property
    def references(self) -> References:
        """The configuration of the run.

        Raises:
            UserError: it cannot be read.
        """
        path = self.files.config
        try:
            return References(read_yaml(path))
        except Exception as error:  # file errors, and many types from YAML
            raise UserError(f"{printable(path)} cannot be read: {printable(error)}.") from error

    @cached_property
    def scale(self) -> int:
        """The scale; raises UserError if the configuration has none."""
        return int(self.option("scale", int))

    def option(self, name: str, kind: type) -> Any:
        """Return an option or group of the configuration, with references resolved.

        Raises:
            UserError: it is missing, or has another type.
        """
        try:
            value = self.references.resolve(name)
            if type(value) is not kind:
                raise ValueError(f"has {name}={printable(value, 60)}")
        except ValueError as error:
            raise UserError(f"{printable(self.files.config)} {error}.") from error
        return value

    @cached_property
    def overrides(self) -> dict[str, str]:
        """The overrides of the command line or a sweeper."""
        try:
            lines = read_yaml(self.files.overrides)
        except Exception:  # the user may have moved or cleaned the directory; only labels are lost
            return {}
        pairs = (printable(line).partition("=") for line in lines) if isinstance(lines, list) else ()
        return {key: value for key, _, value in pairs}

    def curves(self) -> dict[str, tuple[list[int], list[float]]]:
        """Return updates and values of each column of `metrics.csv`, without incomplete rows and unreadable numbers.

        Raises:
            UserError: the file is missing, unreadable or too large, or has no values.
        """
        path = self.files.history
        try:
            text = read_text(path, CURVE_BYTES)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path} has no readable metrics.csv: {printable(error)}.") from error
        columns: dict[str, tuple[list[int], list[float]]] = {}
        for row in parse_history(text)[1]:
            for key, cell in row.items():
                if key not in ("step", "epoch") and (value := _as_number(cell)) is not None:
                    steps, values = columns.setdefault(key, ([], []))
                    steps.append(int(row["step"]))
                    values.append(value)
        if not columns:
            raise UserError(f"{path} has no values yet.")
        return columns


def _as_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isnan(value) or abs(value) < LARGEST else None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < LARGEST and math.isfinite(value)


def is_run(path: Path) -> bool:
    """Check whether a directory is a run directory."""
    return RunDirectory(path).hydra.is_dir() or RunDirectory(path).summary.is_file()


def find_runs(path: Path) -> list[Run]:
    """Return the runs directly in a directory, in the order of their numbers or names.

    Raises:
        UserError: there are no runs.
    """
    found = [entry for entry in path.iterdir() if entry.is_dir() and is_run(entry)] if path.is_dir() else []
    if not found:
        deeper = sorted({entry.parents[1] for entry in path.glob(f"*/*/{HYDRA}")})
        hint = f" Runs were found deeper: give one of {', '.join(map(str, deeper))}." if deeper else ""
        raise UserError(
            f"{path} has no run in it (looked in {path.absolute()}). Give the directory of a run, "
            f"outputs/<experiment>/<run>, or of a sweep, multirun/<experiment>/<sweep>.{hint}"
        )
    found.sort(
        key=lambda entry: (not entry.name.isdecimal(), int(entry.name) if entry.name.isdecimal() else 0, entry.name)
    )
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
    """Return the last part of a key if it is unique among `keys`, else the key."""
    last = key.rsplit(".", 1)[-1]
    return last if [other.rsplit(".", 1)[-1] for other in keys].count(last) == 1 else key


def _rounded(value: str) -> str:
    """Round a fraction to 3 digits, because sweepers write up to 17; return integers and other text unchanged."""
    if value.lstrip("+-").isdecimal():  # every digit of a seed matters
        return value
    try:
        return f"{float(value):.3g}"
    except ValueError:
        return value
