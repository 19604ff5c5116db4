"""Parse the rows of metrics.csv."""

import csv
from collections.abc import Iterator


def parse_history(text: str) -> tuple[list[str], Iterator[dict[str, str]]]:
    """Parse a metrics.csv, which may be damaged.

    Args:
        text: the content of the file.

    Returns:
        The names of the columns, and an iterator of the complete rows, as dicts by column. A last line without
        its end, rows with fewer or more cells, and rows whose `step` is not a number of updates are left out.
    """
    text = text.replace("\0", "")  # a loss of power may leave these in place of text, also after the last line
    lines = text.splitlines()
    if not text.endswith(("\r", "\n")):
        lines = lines[:-1]  # a kill cut it off, perhaps within its last number
    rows = (row for line in lines for row in _cells(line))
    head = next(rows, [])
    whole = (dict(zip(head, row, strict=True)) for row in rows if len(row) == len(head))
    return head, (row for row in whole if _is_count(row.get("step", "")))


def _cells(line: str) -> list[list[str]]:
    """Parse one line separately, so that an unclosed quote cannot swallow the following lines."""
    try:
        return list(csv.reader([line]))
    except csv.Error:
        return []


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
