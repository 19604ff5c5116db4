"""Format scores as tables, per image and as a comparison of results, for the terminal and as Markdown."""

from typing import Any

from rich.console import Console

from srgan_lightning.metrics.perceptual import KNOWN
from srgan_lightning.metrics.psnr_ssim import METRIC_NAMES
from srgan_lightning.metrics.score_format import format_score
from srgan_lightning.utils.markdown import markdown_table
from srgan_lightning.utils.terminal_table import print_table, without_root

TITLES = {
    "psnr_y": "PSNR-Y",
    "ssim_y": "SSIM-Y",
    "psnr_rgb": "PSNR-RGB",
    "ssim_rgb": "SSIM-RGB",
    "lpips": "LPIPS",
    "dists": "DISTS",
    "identity": "identity",
    "fid": "FID",
    "kid": "KID",
    "vgg": "VGG19",
    "swd": "SWD",
    "grid": "grid",
    "hr_grid": "HR grid",
    "colour_shift": "colour shift",
    "weights_count": "parameters",
    "seconds_per_megapixel": "s/MP",
    "megabytes_per_megapixel": "MB/MP",
}
#: Names of a generator's costs, which are not scores.
COSTS = ("weights_count", "seconds_per_megapixel", "megabytes_per_megapixel")


def _number(key: str, value: float) -> str:
    if key in COSTS:
        return f"{value:,.0f}" if key != "seconds_per_megapixel" else f"{value:.3g}"
    return format_score(key, value)


def print_images(console: Console, result: dict[str, Any]) -> None:
    """Print the scores of every image of a result and their mean, with model and bicubic side by side."""
    title = f"{result['weights']} on {result['set']} ({result['n']} images)"
    names, root = [row["name"] for row in result["images"]], ""
    if console.is_terminal:  # a program that reads the output gets the full names
        names, root = without_root(names)
    head = ["image", *(each for key in METRIC_NAMES for each in (TITLES[key], "bicubic"))]
    rows = [
        [name, *(_number(key, row[k]) for key in METRIC_NAMES for k in (key, f"bicubic_{key}"))]
        for name, row in zip([*names, "mean"], [*result["images"], result], strict=True)
    ]
    print_table(console, head, rows, f"{title}, all in {root}" if root else title)


def comparison_rows(results: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the head and rows of the comparison: for each set, one row for bicubic, then one per generator."""
    keys = [*METRIC_NAMES, *(key for key in (*KNOWN, *COSTS) if any(key in result for result in results))]
    rows: list[list[str]] = []
    for name in dict.fromkeys(result["set"] for result in results):
        of_set = [result for result in results if result["set"] == name]
        baseline = {key: of_set[0][f"bicubic_{key}"] for key in METRIC_NAMES}
        for own in (result for result in of_set if result["weights"] == "bicubic"):
            baseline |= {key: own[key] for key in keys if key in own}
        for weights, values in [
            ("bicubic", baseline),
            *((r["weights"], r) for r in of_set if r["weights"] != "bicubic"),
        ]:
            cells = [_number(key, values[key]) if key in values else "-" for key in keys]
            rows.append([str(name), str(of_set[0]["n"]), str(weights), *cells])
    return ["set", "n", "weights", *(TITLES[key] for key in keys)], rows


def print_comparison(console: Console, results: list[dict[str, Any]]) -> None:
    """Print the means of all results in one table."""
    head, rows = comparison_rows(results)
    title = "Means"
    if console.is_terminal:  # a program that reads the output gets the full names
        for column in (0, 2):
            names, root = without_root([row[column] for row in rows])
            title += f"; {head[column]} in {root}" if root else ""
            rows = [[*row[:column], name, *row[column + 1 :]] for row, name in zip(rows, names, strict=True)]
    print_table(console, head, rows, title, left=(0, 2))


def to_markdown(results: list[dict[str, Any]], protocol: dict[str, Any]) -> str:
    """Return the comparison as a Markdown table, followed by the protocol."""
    head, rows = comparison_rows(results)
    conditions = "; ".join(f"{key}: {value}" for key, value in protocol.items())
    return f"{markdown_table(head, rows, left=(0, 2))}\n\nProtocol: {conditions}.\n"
