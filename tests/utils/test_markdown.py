"""Text and tables in Markdown, compared with another library's rendering."""

import re
from html.parser import HTMLParser

import markdown

from srgan_lightning.utils.markdown import MAX_CHARACTERS, markdown_table, markdown_text

HOSTILE = "a|b <script>c</script> [d](e) *f* `g`\nh _i_ __j__ k_l https://m.n WWW.o.p q@r.s @t"


class Cells(HTMLParser):
    """Return the texts of a table's cells, and all tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.styles: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("th", "td"):
            self.texts.append("")
            self.styles.append(dict(attrs).get("style") or "")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] in (["th"], ["td"]) and data.strip():
            self.texts[-1] += data


def test_cells_show_as_they_are_and_numbers_stand_to_the_right() -> None:
    table = markdown_table(["name", "PSNR-Y", "state"], [[HOSTILE, "24.55", "finished"], ["", "-", "x"]], left=(0, 2))
    page = Cells(markdown.markdown(table, extensions=["tables"]))
    assert set(page.tags) == {"table", "thead", "tbody", "tr", "th", "td"}
    assert page.texts == ["name", "PSNR-Y", "state", HOSTILE.replace("\n", " "), "24.55", "finished", "", "-", "x"]
    assert ["right" in style for style in page.styles] == 3 * [False, True, False]


def test_addresses_and_mentions_are_plain_text() -> None:
    """GitHub resolves entities before it looks for them, so something invisible must follow the @."""
    assert re.findall(r"@(?!<!-- -->)|://|(?i:www)\.", markdown_text("mailto:a@b.c @d http://e.f www.g.h")) == []


def test_text_is_one_line_of_limited_length() -> None:
    assert markdown_text("a \n b") == "a b"
    assert len(markdown_text("a" * 5000)) == MAX_CHARACTERS + len("...")
    assert markdown_text(None) == "None"
