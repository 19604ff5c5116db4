"""Tables whose names stay whole: for people in a terminal, for programs in a pipe."""

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
    """Print a table as wide as it is; in a pipe, lines of cells with tabs between them.

    Args:
        console: where to.
        head: titles of the columns.
        rows: cells; line breaks in them show in a terminal alone.
        title: a line above.
        left: columns of text; the others hold numbers, to the right.
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
    """Paths without the folder that all of those with folders have in common, and that folder with its separator."""
    deep = [path for path in paths if os.sep in path]
    try:
        root = os.path.commonpath([os.path.dirname(path) for path in deep]) if len(set(deep)) > 1 else ""
    except ValueError:  # absolute and relative ones
        root = ""
    if not root.strip(os.sep):
        return list(paths), ""
    return [path[len(root) + 1 :] if path in deep else path for path in paths], root + os.sep
