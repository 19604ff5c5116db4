"""Tables keep whole names, grids have titles and no black margins, and figures match their labels."""

import io

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console

from srgan_lightning.imaging.picture_grid import TITLE_HEIGHT, draw_grid
from srgan_lightning.inference.comparison_grid import comparison_grid
from srgan_lightning.metrics.pictures import Pictures
from srgan_lightning.metrics.psnr_ssim import METRIC_NAMES
from srgan_lightning.metrics.score_format import format_score
from srgan_lightning.metrics.tables import comparison_rows, print_comparison, print_images
from srgan_lightning.tools.report.curves import draw_curves
from srgan_lightning.tools.report.sweep_figure import MIN_SPAN, draw_sweep
from srgan_lightning.utils.terminal_table import without_root

LONG = "a_long_name_of_a_photo_that_no_terminal_of_eighty_columns_has_room_for"


def result(folder: str) -> dict[str, object]:
    scores = {prefix + key: 0.5 for key in METRIC_NAMES for prefix in ("", "bicubic_")}
    rows = [{"name": f"deep/down/{LONG}{number}.png", **scores} for number in range(2)]
    return {"set": f"/data/sets/{folder}", "weights": f"/runs/{folder}/generator.safetensors", "n": 2, **scores} | {
        "images": rows
    }


@pytest.mark.parametrize("terminal", [True, False])
def test_names_in_tables_stay_whole(terminal: bool) -> None:
    text = io.StringIO()
    console = Console(file=text, width=80, force_terminal=terminal, color_system=None)
    results = [result("Set5"), result("Set14")]
    print_images(console, results[0])
    print_comparison(console, results)
    lines = text.getvalue().splitlines()
    for number in range(2):
        (line,) = [line for line in lines if f"{LONG}{number}.png" in line]
        cells = line.split("\t") if not terminal else line.split()
        assert len(cells) == 1 + 2 * len(METRIC_NAMES)
        assert cells[0] == ("" if terminal else "deep/down/") + f"{LONG}{number}.png"
    if terminal:
        assert any("in /data/sets/" in line for line in lines)
        assert any(line.split()[:3] == ["Set14", "2", "Set14/generator.safetensors"] for line in lines)
    else:
        assert any(
            line.split("\t")[:3] == ["/data/sets/Set14", "2", "/runs/Set14/generator.safetensors"] for line in lines
        )


@pytest.mark.parametrize("first", [True, False])
def test_the_row_of_bicubic_has_its_own_scores_wherever_it_is_in_weights(first: bool) -> None:
    costs = {"weights_count": 0, "seconds_per_megapixel": 0.25, "megabytes_per_megapixel": 40.0}
    bicubic = result("Set5") | costs | {"weights": "bicubic", "swd": 0.125}
    model = result("Set5") | costs | {"weights_count": 1000, "swd": 0.5}
    head, rows = comparison_rows([bicubic, model] if first else [model, bicubic])
    assert [row[2] for row in rows] == ["bicubic", model["weights"]]
    assert [dict(zip(head, row, strict=True))["SWD"] for row in rows] == [
        format_score("swd", 0.125),
        format_score("swd", 0.5),
    ]
    assert rows[0][-3:] == ["0", "0.25", "40"]
    assert rows[1][-3:] == ["1,000", "0.25", "40"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("psnr_y", 24.5549, "24.55"),
        ("bicubic_psnr_rgb", 24.5551, "24.56"),
        ("ssim_y", 0.91236, "0.9124"),
        ("bicubic_ssim_y", 1, "1.0000"),
        ("fid", 12.345, "12.35"),
        ("kid", 0.01234, "0.0123"),
        ("colour_shift", 0.5, "0.50"),
        ("vgg", 0.5, "0.5000"),
        ("vgg", 1234.5, "1,234"),
    ],
)
def test_scores_have_the_digits_of_their_kind(name: str, value: float, text: str) -> None:
    assert format_score(name, value) == text


def test_the_root_of_names_is_what_they_share() -> None:
    assert without_root(["/a/b/c.png", "/a/b/d/e.png"]) == (["c.png", "d/e.png"], "/a/b/")
    for names in (["bicubic", "x/y"], ["/a/b", "c/d"], ["/a/b", "/c/d"], ["a", "b"], []):
        assert without_root(names) == (names, "")
    assert without_root(["bicubic", "x/y/a", "x/z/a"]) == (["bicubic", "y/a", "z/a"], "x/")


def test_grids_have_titles_and_white_margins() -> None:
    grid = draw_grid([[torch.full((3, 40, 30), 0.5)] * 2, [torch.full((3, 20, 50), 0.5)] * 2], ["LR", "HR"])
    assert grid.shape == (3, TITLE_HEIGHT + 4 + 2 * 44, 4 + 2 * 54)
    head, body = grid[:, :TITLE_HEIGHT], grid[:, TITLE_HEIGHT:]
    assert head.min() < 0.2  # black letters on white
    assert (head.mean() > 0.8).item()
    assert set(body.unique().tolist()) == {0.5, 1.0}
    assert draw_grid([[torch.zeros(3, 9, 9)]], ["HR"]).shape == (3, TITLE_HEIGHT + 17, 17)
    lr, hr = torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 32, 32), 0.5)  # smaller than the zoom
    assert comparison_grid([Pictures("a", lr, hr, hr)])[:, TITLE_HEIGHT:].min() > 0.4


def drawn(figure: Figure) -> Figure:
    figure.savefig(io.BytesIO(), format="png")  # computes the layout
    return figure


def test_the_figure_of_a_sweep_has_no_overlaps_and_gives_its_span() -> None:
    points = {str(number): (28.001 + 0.001 * (number % 5), 0.2 + 0.001 * (number % 4)) for number in range(14)}
    figure = drawn(draw_sweep(points, ["4", "3"], (28.0, 0.1), "swd", {}))
    (axes,) = figure.axes
    left, right = axes.get_xlim()
    assert right - left >= MIN_SPAN
    assert f"the axis spans {right - left:.2g} dB" in axes.get_xlabel()
    (line,) = axes.lines  # connects the runs of the front, without bicubic
    assert line.get_xydata().tolist() == [list(points["4"]), list(points["3"])]  # type: ignore[union-attr]
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the connecting lines
    assert len(boxes) == 14
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
    legend = axes.get_legend()
    assert legend is not None
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())


@pytest.mark.slow
def test_legends_of_curves_lie_beside_them() -> None:
    steps = list(range(40))
    columns = (
        "val/psnr_y",
        "val/bicubic_psnr_y",
        "d_real",
        "d_fake",
        "loss/generator",
        "loss/pixel",
        "loss/perceptual",
    )
    figure = drawn(draw_curves({name: (steps, [28 + 1e-4 * step for step in steps]) for name in columns}, "run"))
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        assert not legend.get_window_extent().padded(-1).overlaps(axes.get_window_extent())
        assert not legend.get_window_extent().padded(-1).overlaps(axes.title.get_window_extent())
        assert not axes.yaxis.get_offset_text().get_text()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0].startswith("PSNR-Y, dB (the axis spans 0.00")
    assert "D(x) of real and fake" in titles
