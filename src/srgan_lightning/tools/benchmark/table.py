"""Print the results of the benchmark, with a row per case and a column per precision."""

from typing import Any

from rich.console import Console
from rich.table import Table

from srgan_lightning.tools.benchmark.timing import Result

COLUMNS = {"32-true": "float32", "bf16-mixed": "bf16", "16-mixed": "float16"}


def print_results(results: list[Result], scales: list[dict[str, Any]]) -> None:
    """Print medians with their range and ratio to the baseline, and further figures."""
    console = Console()
    if results:
        console.print(results_table(results))
    for r in results:
        if (said := remark(r)) is not None:
            console.print(f"{r['name']}, {r['case']}, {COLUMNS[r['precision']]}: {said}")
    if scales:
        table = Table("scaling", "value", "precision", "images/s", "HR megapixels/s")
        for row in scales:
            megapixels = f"{row.get('HR megapixels/s', 0):.3g}"
            table.add_row(row["option"], str(row["value"]), row["precision"], f"{row['images/s']:.3g}", megapixels)
        console.print(table)


def results_table(results: list[Result]) -> Table:
    """Return a table with a row per part and case. The baseline is the one of the row's first precision."""
    precisions = [name for name in COLUMNS if any(r["precision"] == name for r in results)]
    table = Table("what", "case", "unit", "baseline", *(COLUMNS[name] for name in precisions))
    for name, case in dict.fromkeys((r["name"], r["case"]) for r in results):
        rows = {r["precision"]: r for r in results if (r["name"], r["case"]) == (name, case)}
        first = next(iter(rows.values()))
        cells = [f"{spread(rows[key], 'ours')}, {rows[key]['ratio']:.2f}x" if key in rows else "" for key in precisions]
        table.add_row(name, case, first["unit"], spread(first, "baseline"), *cells)
    return table


def spread(r: Result, way: str) -> str:
    """Format a median with the lowest and highest value."""
    return f"{r[way]:.3g} ({r[f'{way}_spread'][0]:.3g}..{r[f'{way}_spread'][1]:.3g})"


def remark(r: Result) -> str | None:
    """Format a part's figures other than its speed; return None if there are none."""
    if r["name"] == "train_step":
        return (
            f"{r['flops_per_image'] / 1e9:.1f} GFLOP an image (textbook {r['baseline_flops_per_image'] / 1e9:.1f}), "
            f"{r['share_of_peak']:.0%} of the measured {r['matmul_peak'] / 1e12:.3g} TFLOP/s (textbook "
            f"{r['baseline_share_of_peak']:.0%} of float32's), peak memory {r['peak_memory'] / 2**30:.2f} GiB"
        )
    if r["name"] == "input_pipeline":
        return (
            f"{r['loading_alone']:.3g} images/s without flips and LR, which the device makes "
            f"({r['loading_alone'] / r['baseline']:.1f}x)"
        )
    if r["name"] == "fit":
        return f"{r['overhead']:+.1%} of the bare step's time, {r['waited_for_data']:.1%} spent waiting for data"
    if r["name"] == "evaluate":
        return f"{r['share_of_scoring']:.0%} of the time is scoring"
    if r["name"] == "degradation":
        return f"{r['share_of_step']:.1%} of the step's time"
    return None
