"""Draw the picture of a sweep: distortion against perception, and the same crop from each run."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from srgan_lightning.tools.report.pareto import Point
from srgan_lightning.tools.report.style import COLOURS, INK, MUTED, styled

PER_ROW = 6
#: Smallest span of the PSNR axis in dB; smaller differences of PSNR are invisible in images.
MIN_SPAN = 0.1

#: Left, bottom, right and top of a rectangle, in typographic points.
Box = tuple[float, float, float, float]


def draw_sweep(
    points: dict[str, Point], front: list[str], baseline: Point, perception: str, crops: dict[str, Tensor]
) -> Figure:
    """Draw a sweep.

    Args:
        points: PSNR-Y in dB and perceptual distance of each run by name.
        front: names of the runs on the Pareto front, without bicubic. A line connects them.
        baseline: PSNR-Y and perceptual distance of bicubic.
        perception: description of the distance.
        crops: pictures (3, side, side) in [0, 1] by title; may be empty.
    """
    rows = -(-len(crops) // PER_ROW)
    strip = rows * (1.6 + 0.15 * max((title.count("\n") + 1 for title in crops), default=0))  # height in inches
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
    if front:
        axes.plot(*zip(*(points[name] for name in front), strict=True), color=COLOURS[1], zorder=2)
    for on_front, colour, fill, label in (
        (True, COLOURS[1], COLOURS[1], "Pareto front"),
        (False, MUTED, "none", "dominated"),
    ):
        chosen = [point for name, point in points.items() if (name in front) == on_front]
        if chosen:
            look: dict[str, Any] = {"s": 60, "edgecolors": colour, "facecolors": fill, "zorder": 3, "label": label}
            axes.scatter(*zip(*chosen, strict=True), **look)
    axes.scatter(*baseline, marker="x", s=60, color=INK, label="bicubic", zorder=3)
    axes.margins(0.12)
    left, right = axes.get_xlim()
    if right - left < MIN_SPAN:  # with a smaller span, noise would look like a result
        left, right = (left + right - MIN_SPAN) / 2, (left + right + MIN_SPAN) / 2
        axes.set_xlim(left, right)
    axes.ticklabel_format(useOffset=False)
    _label(axes, points, baseline)
    span = f"; the axis spans {right - left:.2g} dB" if right - left < 1 else ""
    axes.set_xlabel(f"PSNR-Y, dB (higher is better{span})")
    axes.set_ylabel("perceptual distance (lower is better)")
    axes.set_title(f"Distortion and perception: {perception}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1))


def _label(axes: Axes, points: dict[str, Point], baseline: Point) -> None:
    """Write each name beside its point, without covering points or other names."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    width, height = 540, 300  # approximate size of the axes in typographic points
    places = {
        name: ((x - left) / (right - left) * width, (y - bottom) / (top - bottom) * height)
        for name, (x, y) in {"": baseline, **points}.items()
    }
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places.values()]
    for name, point in points.items():
        x, y = places[name]
        size = 6.5 * len(name)
        offsets = [(dx, dy) for step in range(40) for dy in (-14 - 12 * step, 6 + 12 * step) for dx in (7, -7 - size)]
        boxes = [(x + dx, y + dy, x + dx + size, y + dy + 11) for dx, dy in offsets]
        inside = [i for i, box in enumerate(boxes) if min(box[:2]) > 0 and box[3] < height]
        free = [i for i in inside if not any(_overlap(boxes[i], other) for other in taken)]
        best = free[0] if free else 0
        taken.append(boxes[best])
        far: dict[str, Any] = {"arrowprops": {"arrowstyle": "-", "color": MUTED, "lw": 0.6}} if best > 3 else {}
        axes.annotate(name, point, xytext=offsets[best], textcoords="offset points", parse_math=False, **far)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _strip(figure: SubFigure, crops: dict[str, Tensor], rows: int) -> None:
    for number, (title, crop) in enumerate(crops.items()):
        axes = figure.add_subplot(rows, PER_ROW, number + 1)
        # Enlarge by nearest neighbour, because smoothing would hide the pixels.
        axes.imshow(crop.permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(title, fontsize="x-small", parse_math=False)
        axes.set_axis_off()
