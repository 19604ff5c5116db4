"""README.md and the pages of docs/, and what is in them: code blocks, commands, headings."""

import re

from srgan_lightning.cli.config import config_dir

ROOT = config_dir().parent
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
}


def blocks(language: str, page: str) -> list[str]:
    """Return a page's fenced blocks in a language; blocks without a language are commands, which the tests run."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page], flags=re.MULTILINE | re.DOTALL)  # not closing fences
    return [block for name, block in fenced if name == language]


def commands() -> list[str]:
    """Return each command line of all pages once, without comments and with continued lines joined."""
    text = "".join(block for page in PAGES for block in blocks("", page)).replace("\\\n", " ")
    lines = [line.split("  #")[0].strip() for line in text.splitlines()]
    return [line for line in dict.fromkeys(lines) if line]


def anchors(markdown: str) -> set[str]:
    """Return the anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", markdown, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
