"""Format findings as a table and as JSON."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from srgan_lightning.tools.data_check.duplicates import MAX_BITS, MAX_LEVELS
from srgan_lightning.tools.data_check.files import MIN_CORRELATION, MIN_PSNR, Item
from srgan_lightning.tools.data_check.findings import KINDS, SEVERITIES, Finding
from srgan_lightning.tools.data_check.spectrum import MIN_DETAIL
from srgan_lightning.utils.errors import printable

COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}
SHOWN = 3  # maximum number of examples in a row of the table, and of file names in an example


def as_json(items: Sequence[Item], findings: Sequence[Finding], seconds: float) -> dict[str, Any]:
    """Return counts, thresholds and all findings as JSON values."""
    ordered = sorted(findings, key=lambda each: (SEVERITIES.index(each.severity), each.kind, each.split, each.files))
    return {
        "files": dict(Counter(item.split for item in items)),
        "seconds": round(seconds, 2),
        "images_per_second": round(len(items) / max(seconds, 1e-9), 1),
        "errors": sum(each.severity == "error" for each in findings),
        "warnings": sum(each.severity == "warning" for each in findings),
        "notes": sum(each.severity == "note" for each in findings),
        "thresholds": {
            "fine_detail": MIN_DETAIL,
            "duplicate_bits": MAX_BITS,
            "duplicate_levels": MAX_LEVELS,
            "pair_correlation": MIN_CORRELATION,
            "pair_psnr": MIN_PSNR,
        },
        "findings": [
            {"severity": each.severity, **asdict(each)}  # kind, split, files, detail
            for each in ordered
        ],
    }


def print_report(console: Console, report: dict[str, Any]) -> None:
    """Print a table with a row per kind and split, and with examples. The most severe kinds come first."""
    sets = ", ".join(f"{count} {split}" for split, count in report["files"].items()) or "none"
    speed = f"{report['seconds']} s, {report['images_per_second']} images/s"
    console.print(f"Checked: {sets} ({speed}).", highlight=False)
    rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for finding in report["findings"]:
        rows[finding["kind"], finding["split"]].append(finding)
    if rows:
        table = Table("", "set", "files", "what", "such as")
        for (name, split), found in rows.items():
            kind = KINDS[name]
            shown = found[: 1 if kind.severity == "note" else SHOWN]
            examples = [printable(f"{_names(each['files'], name)}: {each['detail']}") for each in shown]
            severity = f"[{COLOURS[kind.severity]}]{kind.severity}[/]"
            what = f"{kind.title} ({kind.advice})"
            files = {file for each in found for file in each["files"]}
            table.add_row(severity, split, str(len(files)), what, escape("\n".join(examples)))
        console.print(table)
    verdict = f"{report['errors']} errors, {report['warnings']} warnings, {report['notes']} notes."
    console.print(verdict if rows else "No problems found.", highlight=False)


def _names(files: Sequence[str], kind: str) -> str:
    """Format the first few names, and the number of others."""
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return (" = " if kind in ("leak", "duplicate") else ", ").join(files[:SHOWN]) + more
