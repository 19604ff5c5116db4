"""Scores as tables: one of images for each result, one that compares results, in the terminal and as Markdown."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from srgan_lightning.errors import printable
from srgan_lightning.inference.perceptual_metrics import KNOWN
from srgan_lightning.metrics import NAMES

TITLES = {
    "psnr_y": "PSNR-Y",
    "ssim_y": "SSIM-Y",
    "psnr_rgb": "PSNR-RGB",
    "ssim_rgb": "SSIM-RGB",
    "lpips": "LPIPS",
    "fid": "FID",
    "kid": "KID",
    "vgg": "VGG19",
}


def _number(key: str, value: float) -> str:
    if key == "vgg" and value >= 100:  # of weights whose features are not of unit size
        return f"{value:,.0f}"
    return f"{value:.2f}" if key.startswith(("psnr", "bicubic_psnr", "fid")) else f"{value:.4f}"


def print_images(console: Console, result: dict[str, Any]) -> None:
    """Every image of a result and the mean; model and bicubic side by side."""
    title = escape(printable(f"{result['weights']} on {result['set']} ({result['n']} images)"))
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("image", overflow="fold")
    for key in NAMES:
        table.add_column(TITLES[key], justify="right", no_wrap=True)
        table.add_column("bicubic", justify="right", style="dim", no_wrap=True)
    for row in [*result["images"], {"name": "mean", **result}]:
        if row["name"] == "mean":
            table.add_section()
        name = escape(printable(row["name"]))
        table.add_row(name, *(_number(key, row[k]) for key in NAMES for k in (key, f"bicubic_{key}")))
    console.print(table)


def comparison_rows(results: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the comparison: one row for bicubic on each set, then one for each of the weights."""
    keys = [*NAMES, *(key for key in KNOWN if any(key in result for result in results))]
    rows: list[list[str]] = []
    for name in dict.fromkeys(result["set"] for result in results):
        of_set = [result for result in results if result["set"] == name]
        baseline = {key: of_set[0][f"bicubic_{key}"] for key in NAMES}
        baseline |= {key: of_set[0][key] for key in keys if of_set[0]["weights"] == "bicubic" and key in of_set[0]}
        for weights, values in [
            ("bicubic", baseline),
            *((r["weights"], r) for r in of_set if r["weights"] != "bicubic"),
        ]:
            cells = [_number(key, values[key]) if key in values else "-" for key in keys]
            rows.append([str(name), str(of_set[0]["n"]), str(weights), *cells])
    return ["set", "n", "weights", *(TITLES[key] for key in keys)], rows


def print_comparison(console: Console, results: list[dict[str, Any]]) -> None:
    """All results in one table."""
    head, rows = comparison_rows(results)
    table = Table(title="Means", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, title in enumerate(head):
        table.add_column(title, justify="left" if number in (0, 2) else "right", no_wrap=number > 2, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def to_markdown(results: list[dict[str, Any]], protocol: dict[str, Any]) -> str:
    """The comparison as a Markdown table, with the protocol beneath."""
    head, rows = comparison_rows(results)
    lines = [head, ["---" if number in (0, 2) else "---:" for number in range(len(head))], *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\nProtocol: {'; '.join(f'{key}: {value}' for key, value in protocol.items())}.\n"
