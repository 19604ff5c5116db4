"""Draw the curves of one run."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srgan_lightning.tools.report.style import MUTED, styled
from srgan_lightning.utils.errors import UserError

Curves = dict[str, tuple[list[int], list[float]]]

#: For each panel: its title, the names of its curves by column of metrics.csv, and whether its y axis is logarithmic.
PANELS: list[tuple[str, dict[str, str], bool]] = [
    ("PSNR-Y, dB", {"val/psnr_y": "model", "val/bicubic_psnr_y": "bicubic"}, False),
    ("SSIM-Y", {"val/ssim_y": "model", "val/bicubic_ssim_y": "bicubic"}, False),
    ("Distance of patch statistics", {"val/swd": "model", "val/bicubic_swd": "bicubic"}, False),
    ("Energy at the LR grid's frequencies", {"val/grid": "SR", "val/hr_grid": "HR"}, False),
    ("Colour shift, levels of 255", {"val/colour_shift": "SR"}, False),
    (
        "Losses, weighted",
        {
            "loss/generator": "generator",
            "loss/pixel": "pixel",
            "loss/perceptual": "perceptual",
            "loss/adversarial": "adversarial",
            "loss/total_variation": "total variation",
            "loss/grid": "grid",
            "loss/discriminator": "discriminator",
        },
        True,
    ),
    ("D(x) of real and fake", {"d_real": "HR", "d_fake": "SR"}, False),
    (
        "Gradient that each term sends into SR",
        {
            "health/gradient_pixel": "pixel",
            "health/gradient_perceptual": "perceptual",
            "health/gradient_adversarial": "adversarial",
            "health/gradient_total_variation": "total variation",
            "health/gradient_grid": "grid",
        },
        True,
    ),
    ("Learning rates", {"lr/generator": "generator", "lr/discriminator": "discriminator"}, True),
    ("Images per second", {"images_per_second": "training"}, False),
]

LEGEND_COLUMNS = 3


def draw_curves(curves: Curves, title: str) -> Figure:
    """Draw a figure with a panel for each logged group of columns; raise UserError if there is none."""
    shown = [panel for panel in PANELS if any(column in curves for column in panel[1])]
    if not shown:
        raise UserError(f"{title}: its metrics.csv has none of the columns that training logs.")
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    with styled():
        figure = Figure(figsize=(4.2 * columns, 2.9 * rows), layout="constrained")
        figure.suptitle(title, parse_math=False)
        for number, (name, possible, logarithmic) in enumerate(shown):
            names = {column: label for column, label in possible.items() if column in curves}
            axes = figure.add_subplot(rows, columns, number + 1)
            _draw_panel(axes, curves, names, logarithmic)
            axes.set_title(name + _span(axes), pad=4 + 13 * -(-len(names) // LEGEND_COLUMNS) * (len(names) > 1))
            if number >= len(shown) - columns:
                axes.set_xlabel("generator updates")
    return figure


def _draw_panel(axes: Axes, curves: Curves, names: dict[str, str], logarithmic: bool) -> None:
    for column, name in names.items():
        steps, values = curves[column]
        if name == "bicubic":
            axes.plot(steps, values, color=MUTED, linestyle="--", label=name)
        else:
            total = column == "loss/generator"  # dotted and on top, because one of its terms may nearly equal it
            style: dict[str, Any] = {"linestyle": ":", "zorder": 3} if total else {}
            axes.plot(steps, values, label=name, marker="." if len(steps) < 30 else None, **style)
    # A logarithmic axis hides zeros. If all values are 0, keep the linear axis, because the panel would be empty.
    if logarithmic and any(value > 0 for column in names for value in curves[column][1]):
        axes.set_yscale("log", nonpositive="mask")
    if len(names) > 1:
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0}  # above the curves
        axes.legend(fontsize="x-small", ncols=LEGEND_COLUMNS, handlelength=1.5, columnspacing=1, **place)
    if "d_real" in names:
        axes.set_ylim(0, 1)
    if axes.get_yscale() == "linear":
        axes.ticklabel_format(useOffset=False)


def _span(axes: Axes) -> str:
    """Return a remark if the y axis spans a small range compared with its values, because small changes look large."""
    low, high = axes.get_ylim()
    small = axes.get_yscale() == "linear" and high - low < 0.02 * max(abs(low), abs(high))
    return f" (the axis spans {high - low:.2g})" if small else ""
