"""Write Markdown that shows any text literally: untrusted text becomes neither HTML, links nor columns."""

import html
import re
from collections.abc import Sequence
from typing import Any, Final

MAX_CHARACTERS: Final = 2000


def markdown_text(value: Any) -> str:
    """Format a value as one line of text without markup and links, cut to `MAX_CHARACTERS`."""
    text = " ".join(str(value).split())
    if len(text) > MAX_CHARACTERS:
        text = f"{text[:MAX_CHARACTERS]}..."
    # GitHub takes an underscore within a word literally, but makes links of bare addresses.
    text = html.escape(re.sub(r"([\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text), quote=False)
    text = text.replace("@", "@<!-- -->")  # an entity would still become a mention or an e-mail link
    return re.sub(r"(?i)://|www\.", lambda found: found[0].replace(":", "&#58;").replace(".", "&#46;"), text)


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
