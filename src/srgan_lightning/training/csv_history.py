"""Keep metrics.csv consistent when a run is resumed."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from srgan_lightning.runs.history import parse_history
from srgan_lightning.utils.files import write_atomically

Rows = list[dict[str, str]]


class _Writer(ExperimentWriter):
    """A writer that appends to an existing metrics.csv.

    Lightning's writer deletes an existing file, and does not add columns atomically.
    """

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self.earlier: set[tuple[float, str]] = set()  # places (see `_place`) of rows that earlier starts wrote
        self.metrics_keys, rows = self._read()
        if self.metrics_keys:
            self._write(rows)  # drops a line that a kill cut off, which the next row would continue

    def _check_log_dir_exists(self) -> None:
        pass  # Lightning would delete the file here

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._write(self._read()[1])

    def _read(self) -> tuple[list[str], Rows]:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return [], []
        head, rows = parse_history(path.read_text(encoding="utf-8"))
        return head, list(rows)

    def _write(self, rows: Rows) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.metrics_keys)
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.metrics_file_path, text.getvalue().encode())

    def truncate(self, batches: int) -> None:
        """Drop the rows of batches after the given number."""
        _, rows = self._read()
        kept = [row for row in rows if float(row.get("batch") or 0) <= batches]
        if len(kept) < len(rows):
            self._write(kept)
        self.earlier = {_place(row) for row in kept}

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        """Record a row, which replaces the row that an earlier start wrote at the same place.

        Such a row exists, for example, if a kill came after the first validation and before its checkpoint was
        complete. The run is then resumed from the checkpoint that `Interruption` saved before this validation, and
        validates again at the same batch.
        """
        super().log_metrics(metrics_dict, step)
        place = _place(self.metrics[-1])
        if place in self.earlier:
            self.earlier.remove(place)
            self._write([row for row in self._read()[1] if _place(row) != place])


def _place(row: Mapping[str, str | float]) -> tuple[float, str]:
    """Return a row's number of batches, and its split."""
    splits = (name.partition("/")[0] for name, value in row.items() if value != "")
    return float(row.get("batch") or 0), next((split for split in splits if split in ("val", "test")), "train")


class RunCSVLogger(CSVLogger):
    """A CSVLogger for run directories that are resumed in place."""

    @property
    def experiment(self) -> Any:
        if self._experiment is None and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            self._experiment = _Writer(self.log_dir)
        return super().experiment

    @rank_zero_only
    def truncate_after(self, batches: int) -> None:
        """Drop the rows after a checkpoint's number of batches, because the resumed run logs them again."""
        self.experiment.truncate(batches)


def read_curve(path: Path) -> dict[str, Any]:
    """Summarise a training for its model card.

    Returns:
        `curve`, PSNR-Y by update, and `final_losses`, the loss of each network and the generator's weighted terms.
        Empty if the file is missing.
    """
    if not path.is_file():
        return {}
    rows = list(parse_history(path.read_text(encoding="utf-8"))[1])
    curve = {row["step"]: round(float(row["val/psnr_y"]), 2) for row in rows if row.get("val/psnr_y")}
    last: dict[str, str] = next((row for row in reversed(rows) if row.get("loss/generator")), {})
    losses = {name: float(f"{float(value):.4g}") for name, value in last.items() if name.startswith("loss/") and value}
    return {"curve": curve, "final_losses": losses}
