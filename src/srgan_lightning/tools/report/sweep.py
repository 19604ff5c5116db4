"""Compare the runs of a sweep."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srgan_lightning.inference.scoring import make_upscaler
from srgan_lightning.metrics.psnr_ssim import protocol
from srgan_lightning.runs.reading import Run, find_runs
from srgan_lightning.runs.untrusted_files import printable
from srgan_lightning.tools.report.perception import Choice, Perception, measure_perception
from srgan_lightning.tools.report.style import save_figure
from srgan_lightning.tools.report.sweep_figure import draw_sweep
from srgan_lightning.tools.report.tables import best_for, front_of, table, to_csv, to_markdown
from srgan_lightning.tools.report.validation import Image, largest_error_crop, validation_images
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.files import write_atomically
from srgan_lightning.utils.markdown import markdown_text


@dataclass
class Sweep:
    """The results of a sweep.

    Args:
        path: the directory with a subdirectory per run.
        rows: see `table`.
        finished: the runs that can be compared. If there are none, all following fields except `notes` are empty.
        perception: perceptual distances of the finished runs.
        images: validation images for the crops, and for all distances except `swd`, which is read from
            `summary.json`.
        best: sentences on the best checkpoints.
        notes: further sentences.
    """

    path: Path
    rows: list[dict[str, Any]]
    finished: list[Run]
    perception: Perception | None = None
    images: list[Image] = field(default_factory=list)
    best: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_sweep(path: Path, choice: Choice, limit: int) -> Sweep:
    """Compare the runs below a directory.

    Args:
        path: the directory.
        choice: the measure of perception.
        limit: maximum number of validation images for this measure and for the crops.

    Raises:
        UserError: there are no runs, the scales of the finished runs differ, or the measure of perception is
            unavailable.
    """
    runs = find_runs(path)
    finished = [run for run in runs if run.finished]
    notes = [f"Run {run.name} failed: {run.failure}" for run in runs if run.state == "failed"]
    if unfinished := [run.name for run in runs if run.state == "unfinished"]:
        notes.append(f"Unfinished (stopped, or still running): {', '.join(unfinished)}.")
    notes += [f"Run {run.name} is skipped: {run.damage}" for run in runs if run.state == "damaged"]
    if not finished:
        return Sweep(path, table(runs, None), [], notes=["No run is finished: nothing to compare.", *notes])
    if len({run.scale for run in finished}) > 1:
        raise UserError(f"{path}: its runs have different scales, so their scores cannot be compared.")
    if len({round(run.summary["bicubic_psnr_y"], 3) for run in finished}) > 1:
        notes.append("The runs were not validated on the same images: their bicubic scores differ.")
    images: list[Image] = []
    try:
        images = validation_images(finished[0], limit)
    except UserError as error:
        notes.append(f"No crops are shown: {error}")
    perception = measure_perception(finished, images, choice)
    notes = [
        f"Perception is {perception.measure}: {perception.title}; lower is better.",
        *perception.notes,
        f"Protocol: {'; '.join(f'{key}: {value}' for key, value in protocol(finished[0].scale).items())}.",
        *notes,
    ]
    return Sweep(path, table(runs, perception), finished, perception, images, best_for(finished, perception), notes)


def write_sweep(sweep: Sweep, output: Path, device: torch.device) -> list[Path]:
    """Write `report.md`, `report.csv` and, if any run is finished, `report.png`; return their paths."""
    picture = "![Distortion against perception](report.png)\n\n" if sweep.perception is not None else ""
    lines = "".join(f"- {markdown_text(printable(line, 2000))}\n" for line in [*sweep.best, *sweep.notes])
    files = {
        "report.md": f"# {markdown_text(printable(sweep.path))}\n\n{to_markdown(sweep.rows)}\n{picture}{lines}",
        "report.csv": to_csv(sweep.rows),
    }
    for name, text in files.items():
        write_atomically(output / name, text.encode())
    written = [output / name for name in files]
    if sweep.perception is not None:
        distances = sweep.perception.distances
        points = {run.name: (run.summary["psnr_y"], distances[run.name]) for run in sweep.finished}
        baseline = (sweep.finished[0].summary["bicubic_psnr_y"], distances["bicubic"])
        front = [run.name for run in front_of(sweep.finished, sweep.perception)]
        strip = crops(sweep.finished, sweep.images, device)
        save_figure(draw_sweep(points, front, baseline, sweep.perception.title, strip), output / "report.png")
        written.append(output / "report.png")
    return written


@torch.inference_mode()
def crops(runs: list[Run], images: list[Image], device: torch.device) -> dict[str, Tensor]:
    """Return the same crop (3, side, side) of HR, bicubic and each run's SR, by title; empty if there are no images."""
    if not images:
        return {}
    crop = largest_error_crop(images)
    scale = runs[0].scale
    weights = {"bicubic": "bicubic"} | {f"{run.name}\n{run.label}": str(run.artifact) for run in runs}
    strip = {f"truth\n{crop.image.name}": crop.of(crop.image.hr)}
    for title, source in weights.items():
        strip[title.replace(", ", "\n")] = crop.of(make_upscaler(source, scale, device, ensemble=False)(crop.image.lr))
    return strip
