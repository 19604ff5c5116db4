"""The style of all figures. Their background has a fixed colour, which suits both dark and light pages."""

from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure

GROUND, INK, MUTED = "#f4f4f2", "#222222", "#8a8a8a"
#: Okabe and Ito's palette for colour-blind readers, without black, and without yellow, which is too faint here.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"]
STYLE: dict[str, Any] = {
    "figure.facecolor": GROUND,
    "axes.facecolor": GROUND,
    "savefig.facecolor": GROUND,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.grid": True,
    "grid.color": "#d8d8d4",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "font.size": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


def styled() -> Any:
    """Return a context manager in which figures have this style."""
    return matplotlib.rc_context(STYLE)  # type: ignore[arg-type]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG file atomically."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        figure.savefig(partial, format="png", dpi=144)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
