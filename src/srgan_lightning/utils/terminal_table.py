"""Print tables without cutting names: aligned in a terminal, separated by tabs in a pipe."""

import os
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from srgan_lightning.utils.errors import printable


def print_table(
    console: Console, head: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", left: Sequence[int] = (0,)
) -> None:
    """Print a table at its full width; in a pipe, print lines of tab-separated cells.

    Args:
        console: where to print.
        head: column titles.
        rows: cells; line breaks in a cell are shown in a terminal only.
        title: a line above the table.
        left: indices of the left-aligned text columns; the others hold numbers and are right-aligned.
    """
    title = printable(title)
    rows = [["\n".join(map(printable, cell.split("\n"))) for cell in row] for row in rows]
    if not console.is_terminal:
        lines = ["\t".join(cell.replace("\n", ", ") for cell in row) for row in (head, *rows)]
        print(*([title] if title else []), *lines, sep="\n", file=console.file)
        return
    table = Table(title=Text(title) if title else None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, name in enumerate(head):
        table.add_column(Text(name), justify="left" if number in left else "right", no_wrap=True, overflow="ignore")
    for row in rows:
        table.add_row(*map(Text, row))
    before = console.width
    wide = console.options.update(max_width=10_000)
    console.width = max(before, Measurement.get(console, wide, table).maximum)
    try:
        console.print(table, crop=False)
    finally:
        console.width = before


def without_root(paths: Sequence[str]) -> tuple[list[str], str]:
    """Remove the parent folder that all paths with a folder share.

    Returns:
        The paths without this folder, and the folder with a separator at its end; "" if there is none.
    """
    deep = [path for path in paths if os.sep in path]
    try:
        root = os.path.commonpath([os.path.dirname(path) for path in deep]) if len(set(deep)) > 1 else ""
    except ValueError:  # absolute and relative paths have no common folder
        root = ""
    if not root.strip(os.sep):
        return list(paths), ""
    return [path[len(root) + 1 :] if path in deep else path for path in paths], root + os.sep
