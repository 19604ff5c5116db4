"""A hook of MkDocs: fills docs/configuration.md with the files of conf/, so that the page is never out of date.

Each group is a heading. Below it, each option is a heading, with the comment at the top of its file and the file.
"""

import html
from pathlib import Path
from typing import Any

CONF = Path(__file__).resolve().parents[1] / "conf"
MARK = "<!-- conf -->"
PAGE = "configuration.md"
#: Files that belong to a command instead of a group.
COMMANDS = ("train", "evaluate", "check_data", "make_shards")


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Put all options in place of the mark; called by MkDocs for every page."""
    return markdown.replace(MARK, every_option(CONF)) if page.file.src_uri == PAGE else markdown


def every_option(conf: Path) -> str:
    """Return the Markdown of all configuration files below `conf`, without Hydra's settings of commands."""
    sections = []
    for name in COMMANDS:
        text = (conf / f"{name}.yaml").read_text(encoding="utf-8").partition("\nhydra:\n")[0]
        sections.append(section(f"### Command: {name}", text))
    for folder in sorted({path.parent for path in conf.rglob("*.yaml")} - {conf}):
        name = folder.relative_to(conf).as_posix()
        sections.append(f"### Group: {name}\n")
        for path in sorted(folder.glob("*.yaml")):
            sections.append(section(f"#### {name}={path.stem}", path.read_text(encoding="utf-8")))
    return "\n".join(sections)


def section(title: str, text: str) -> str:
    """Return the Markdown of one file: title, the comment at its top as text, and the rest as code."""
    lines = text.strip().splitlines()
    package = [line for line in lines[:1] if line.startswith("# @package")]
    lines = lines[len(package) :]
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    comment = html.escape(" ".join(line.removeprefix("#").strip() for line in lines[:end]), quote=False)
    code = "\n".join([*package, *lines[end:]])
    return f"{title}\n\n{comment}\n\n```yaml\n{code}\n```\n"
