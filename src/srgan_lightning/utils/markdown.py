"""Write Markdown that shows any text literally: untrusted text becomes neither HTML, links nor columns."""

import html
import re
from collections.abc import Sequence
from typing import Any, Final

MAX_CHARACTERS: Final = 2000


def markdown_text(value: Any) -> str:
    """Format a value as one line of text without markup, cut to `MAX_CHARACTERS`."""
    text = " ".join(str(value).split())
    if len(text) > MAX_CHARACTERS:
        text = f"{text[:MAX_CHARACTERS]}..."
    return html.escape(re.sub(r"([\\`*\[\]|~$])", r"\\\1", text), quote=False)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Format a table whose cells are shown literally.

    Args:
        head: column titles.
        rows: cells of each row.
        left: indices of the left-aligned text columns; the others hold numbers and are right-aligned.

    Returns:
        The lines of the table, the last without a line break.
    """
    rule = ["---" if number in left else "---:" for number in range(len(head))]
    lines = [[*map(markdown_text, head)], rule, *([*map(markdown_text, row)] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
