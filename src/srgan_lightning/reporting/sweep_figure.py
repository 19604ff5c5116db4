"""The picture of a sweep: distortion against perception, and the same crop from each run."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from srgan_lightning.reporting.pareto import Point, pareto_front
from srgan_lightning.reporting.style import COLOURS, FAINT, INK, styled

PER_ROW = 6


def draw_sweep(
    points: dict[str, Point], front: list[str], baseline: Point, perception: str, crops: dict[str, Tensor]
) -> Figure:
    """Draw a sweep.

    Args:
        points: PSNR-Y in dB and perceptual distance of each run by name.
        front: names of the runs on the Pareto front, which is drawn through bicubic too where no run beats it.
        baseline: the same of bicubic.
        perception: what the distance is.
        crops: pictures (3, side, side) in [0, 1] by title; may be empty.
    """
    rows = -(-len(crops) // PER_ROW)
    strip = rows * (1.6 + 0.15 * max((title.count("\n") + 1 for title in crops), default=0))  # inches
    with styled():
        figure = Figure(figsize=(10, 5.2 + strip), layout="constrained")
        if not crops:
            _scatter(figure.add_subplot(), points, front, baseline, perception)
            return figure
        upper, lower = figure.subfigures(2, 1, height_ratios=[5.2, strip], squeeze=False).flat
        _scatter(upper.add_subplot(), points, front, baseline, perception)
        _strip(lower, crops, rows)
    return figure


def _scatter(axes: Axes, points: dict[str, Point], front: list[str], baseline: Point, perception: str) -> None:
    every = [baseline, *points.values()]
    axes.plot(*zip(*(every[i] for i in pareto_front(every)), strict=True), color=COLOURS[1], zorder=2)
    for on_front, colour, fill, label in (
        (True, COLOURS[1], COLOURS[1], "Pareto front"),
        (False, FAINT, "none", "beaten"),
    ):
        chosen = [point for name, point in points.items() if (name in front) == on_front]
        if chosen:
            look: dict[str, Any] = {"s": 60, "edgecolors": colour, "facecolors": fill, "zorder": 3, "label": label}
            axes.scatter(*zip(*chosen, strict=True), **look)
    axes.scatter(*baseline, marker="x", s=60, color=INK, label="bicubic", zorder=3)
    for name, point in points.items():
        axes.annotate(name, point, xytext=(7, -14), textcoords="offset points", parse_math=False)
    axes.margins(0.12)
    axes.set_xlabel("PSNR-Y, dB (to the right is better)")
    axes.set_ylabel("perceptual distance (below is better)")
    axes.set_title(f"Distortion and perception: {perception}")
    axes.legend()


def _strip(figure: SubFigure, crops: dict[str, Tensor], rows: int) -> None:
    for number, (title, crop) in enumerate(crops.items()):
        axes = figure.add_subplot(rows, PER_ROW, number + 1)
        # Nearest: a zoom must show pixels, not smooth them.
        axes.imshow(crop.permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(title, fontsize="x-small", parse_math=False)
        axes.set_axis_off()
