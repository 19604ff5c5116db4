"""The rows of metrics.csv, for the training that writes it and for all that read it."""

import csv
from collections.abc import Iterator


def parse_history(text: str) -> tuple[list[str], Iterator[dict[str, str]]]:
    """Parse a metrics.csv, which may be damaged.

    Args:
        text: what the file holds.

    Returns:
        The columns, and each whole row by them as it is read; rows that a kill tore, and those without a count of
        updates as `step`, are left out.
    """
    rows = (row for line in text.replace("\0", "").splitlines() for row in _cells(line))
    head = next(rows, [])
    whole = (dict(zip(head, row, strict=True)) for row in rows if len(row) == len(head))
    return head, (row for row in whole if _is_count(row.get("step", "")))


def _cells(line: str) -> list[list[str]]:
    """A line by itself, so that an open quote ends with it."""
    try:
        return list(csv.reader([line]))
    except csv.Error:
        return []


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
