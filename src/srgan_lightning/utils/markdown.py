"""Markdown that shows any text as it is: what a stranger's file holds becomes neither HTML, links nor columns."""

import html
import re
from collections.abc import Sequence
from typing import Any, Final

MAX_CHARACTERS: Final = 2000


def markdown_text(value: Any) -> str:
    """A value as one line of text without markup, at most `MAX_CHARACTERS` long."""
    text = " ".join(str(value).split())
    if len(text) > MAX_CHARACTERS:
        text = f"{text[:MAX_CHARACTERS]}..."
    return html.escape(re.sub(r"([\\`*\[\]|~$])", r"\\\1", text), quote=False)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """A table whose cells show as they are.

    Args:
        head: titles of the columns.
        rows: cells.
        left: columns of text; the others hold numbers, to the right.

    Returns:
        Lines, the last without a line break.
    """
    rule = ["---" if number in left else "---:" for number in range(len(head))]
    lines = [[*map(markdown_text, head)], rule, *([*map(markdown_text, row)] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
