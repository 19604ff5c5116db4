"""Measure the perceptual distance of runs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from srgan_lightning.imaging.ops import round_to_8_bits
from srgan_lightning.inference.scoring import make_upscaler
from srgan_lightning.metrics.perceptual import PerceptualMetrics
from srgan_lightning.metrics.pictures import Pictures
from srgan_lightning.runs.reading import Run
from srgan_lightning.tools.report.validation import Image
from srgan_lightning.utils.errors import UserError

SAYS = {
    "lpips": "LPIPS (AlexNet)",
    "fid": "FID",
    "kid": "KID",
    "vgg": "squared distance of VGG19 features, a proxy for LPIPS",
    "swd": "distance of patch statistics, a proxy for LPIPS that needs no weights",
}
WITHOUT_LPIPS = (
    "LPIPS was not used, because its weights are not on this machine. Use --perception lpips to download them "
    "(233 MB), or --metric-weights DIR for a folder that has them."
)
VGG_OPTIONS = "--perception vgg takes --vgg-weights and --vgg-layer"


@dataclass
class Perception:
    """The name of the measure, and the distance of each run and of `bicubic`, by name. A lower distance is better."""

    measure: str
    distances: dict[str, float]
    notes: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        return SAYS[self.measure]


@dataclass
class Choice:
    """The user's choice: the measure (`auto` or a key of `SAYS`), and the paths of weights."""

    measure: str = "auto"
    metric_weights: str | None = None
    vgg_weights: str | None = None
    vgg_layer: str = "relu2_2"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def measure_perception(runs: list[Run], images: list[Image], choice: Choice) -> Perception:
    """Measure every run on the same images.

    `auto` uses VGG if VGG weights are given, else LPIPS if its weights are on this machine, else `swd` from
    `summary.json`. So nothing is downloaded unless requested.

    Args:
        runs: finished runs of the same scale.
        images: validation images of the runs; without images only `swd` is possible.
        choice: the measure.

    Raises:
        UserError: the measure is unavailable.
    """
    measure = choice.measure
    if measure == "auto":
        measure = "vgg" if choice.vgg_weights else "lpips" if images and _has_lpips(choice) else "swd"
    if measure != "swd" and not images:
        raise UserError(f"--perception {measure} needs the validation images of the runs, which are unavailable.")
    if measure == "swd":
        here = choice.measure == "swd" or not images
        return _logged(runs, [] if here else [WITHOUT_LPIPS])
    try:
        distances = {run.name: _measure(str(run.artifact), measure, images, choice) for run in runs}
        return Perception(measure, {**distances, "bicubic": _measure("bicubic", measure, images, choice)})
    except UserError as error:
        if choice.measure != "auto" or measure == "vgg":
            raise
        return _logged(runs, [f"LPIPS was not used: {error}"])


def _has_lpips(choice: Choice) -> bool:
    folder = Path(choice.metric_weights or torch.hub.get_dir(), "checkpoints")
    return any(folder.glob("alexnet-*.pth"))


def _logged(runs: list[Run], notes: list[str]) -> Perception:
    """Return the swd in each run's `summary.json`."""
    if missing := [run.name for run in runs if "swd" not in run.summary]:
        raise UserError(f"summary.json of {', '.join(missing)} has no swd: use another --perception.")
    baseline = {"bicubic": runs[0].summary["bicubic_swd"]}
    return Perception("swd", {run.name: run.summary["swd"] for run in runs} | baseline, notes)


@torch.inference_mode()
def _measure(weights: str, measure: str, images: Iterable[Image], choice: Choice) -> float:
    images = list(images)
    scale = images[0].hr.shape[-1] // images[0].lr.shape[-1]
    upscale = make_upscaler(weights, scale, choice.device, ensemble=False)
    pictures = (Pictures(i.name, i.lr, round_to_8_bits(upscale(i.lr)), i.hr) for i in images)
    vgg = {"layer": choice.vgg_layer, "weights": choice.vgg_weights or "imagenet"}
    otherwise = "use --metric-weights DIR, or --perception swd"
    metrics = PerceptualMetrics(
        [measure], choice.metric_weights, choice.device, vgg, otherwise, vgg_options=VGG_OPTIONS
    )
    for picture in pictures:
        metrics.update(picture)
    return metrics.compute(len(images))[measure]
