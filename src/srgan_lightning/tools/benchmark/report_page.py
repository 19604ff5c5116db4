"""The page of `--gpu-report`: its figures as Markdown tables."""

from pathlib import Path
from typing import Any

from srgan_lightning.tools.benchmark.table import COLUMNS, remark
from srgan_lightning.utils.files import write_text


def write_page(path: Path, report: dict[str, Any]) -> None:
    """Write a report as Markdown.

    Args:
        path: the file.
        report: what `report.json` holds.
    """
    device = report["device"]
    lines = [
        f"# {device['name']}, PyTorch {device['torch']}, srgan-lightning {device['version']}",
        "",
        f"{report['seconds']:.0f} s" + (", a dry run with tiny networks" if report["quick"] else "") + ".",
        "",
        "| part | status | seconds |",
        "| --- | --- | ---: |",
        *(f"| {part['name']} | {part['status']} | {part['seconds']:.0f} |" for part in report["parts"]),
        "",
        "| part | what | case | precision | ours | baseline | ratio | unit | |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for part in report["parts"]:
        for r in part["figures"].get("results", []):
            figures = f"{r['ours']:.3g} | {r['baseline']:.3g} | {r['ratio']:.2f}"
            names = f"{part['name']} | {r['name']} | {r['case']} | {COLUMNS[r['precision']]}"
            lines.append(f"| {names} | {figures} | {r['unit']} | {remark(r) or ''} |")
    write_text(path, "\n".join(lines) + "\n")
