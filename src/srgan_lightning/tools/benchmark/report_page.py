"""Write the page of `--gpu-report`: its figures as Markdown tables."""

from pathlib import Path
from typing import Any

from srgan_lightning.tools.benchmark.table import COLUMNS, remark
from srgan_lightning.tools.benchmark.timing import Result
from srgan_lightning.utils.files import write_text
from srgan_lightning.utils.markdown import markdown_table


def write_page(path: Path, report: dict[str, Any]) -> None:
    """Write a report as Markdown.

    Args:
        path: the Markdown file to write.
        report: the content of `report.json`.
    """
    device = report["device"]
    results = [(part, r) for part in report["parts"] for r in part["figures"].get("results", [])]
    lines = [
        f"# {device['name']}, PyTorch {device['torch']}, srgan-lightning {device['version']}",
        "",
        f"{report['seconds']:.0f} s" + (", a dry run with tiny networks" if report["quick"] else "") + ".",
        "",
        markdown_table(
            ["part", "status", "seconds"],
            [[part["name"], part["status"], f"{part['seconds']:.0f}"] for part in report["parts"]],
            left=(0, 1),
        ),
        "",
        markdown_table(
            ["part", "what", "case", "precision", "ours", "baseline", "ratio", "unit", ""],
            [[part["name"], *figures_of(r)] for part, r in results],
            left=(0, 1, 2, 3, 7, 8),
        ),
    ]
    write_text(path, "\n".join(lines) + "\n")


def figures_of(r: Result) -> list[str]:
    """Return the cells of a result: what, case, precision, ours, baseline, ratio, unit and a remark."""
    figures = [f"{r['ours']:.3g}", f"{r['baseline']:.3g}", f"{r['ratio']:.2f}"]
    return [r["name"], r["case"], COLUMNS[r["precision"]], *figures, r["unit"], remark(r) or ""]
