"""Everything that README and docs/ name exists: links, headings, tests, extras, options of groups."""

import importlib
import re
import tomllib

import pytest

from tests.helpers.documents import PAGES, ROOT, anchors, blocks
from tests.test_structure import LEVEL, PACKAGE

GROUPS = {  # as docs/configuration.md writes them: folder of conf/, and options that are Hydra's own
    "`model=`": "model",
    "`model/generator=`": "model/generator",
    "`model/discriminator=`": "model/discriminator",
    "`experiment=`": "experiment",
    "`data=`": "data",
    "`degradation=`": "degradation",
    "`loss=`": "loss",
    "`scheduler@model.generator_scheduler=`": "scheduler",
    "`callbacks=`": "callbacks",
    "`logger=`": "logger",
    "`trainer=`": "trainer",
    "`sweep=`": "sweep",
    "`hydra/launcher=`": "hydra/launcher",
}


def test_readme_fits_on_a_few_screens() -> None:
    assert PAGES["README.md"].count("\n") <= 200


@pytest.mark.parametrize("page", PAGES)
def test_links_and_anchors_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if target.startswith(("http", "../../actions")):  # the second: GitHub's own pages of the repository
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def test_every_page_is_reached_from_the_readme_or_the_first_page() -> None:
    named = {page for page in PAGES if page.startswith("docs/")}
    linked = set(re.findall(r"\((docs/[\w-]+\.md)", PAGES["README.md"]))
    linked |= {f"docs/{name}" for name in re.findall(r"\(([\w-]+\.md)", PAGES["docs/index.md"])}
    assert named - linked <= {"docs/index.md", "docs/api.md"}  # linked from the site's menu and from Using models


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_named_exist(page: str) -> None:
    for name in re.findall(r"python -m srgan_lightning\.([\w.]+\w)", PAGES[page]):
        assert callable(importlib.import_module(f"srgan_lightning.{name}").main)


def test_extras_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = "\n".join(PAGES.values())
    named = {name for group in re.findall(r"install '\.\[([\w,]+)\]'", text) for name in group.split(",")}
    named |= set(re.findall(r"extra\s+`(\w+)`", text))
    (table,) = re.findall(r"^\| extra \|.*\n((?:\|.*\n)+)", PAGES["docs/getting-started.md"], flags=re.MULTILINE)
    listed = set(re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE))
    assert listed == extras.keys() - {"dev"}  # `make` installs the tools of development
    assert named
    assert named <= extras.keys()


def test_named_tests_exist() -> None:
    """Every test that a page names exists."""
    files = list((ROOT / "tests").rglob("test_*.py"))
    known = "\n".join(path.read_text(encoding="utf-8") for path in files)
    named = re.findall(r"`(test_\w+)`", "\n".join(PAGES.values()))
    assert named
    for name in named:
        assert re.search(rf"def {name}\b", known) or name in {path.stem for path in files}, name


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_of_a_group_is_listed(group: str) -> None:
    row = next(line for line in PAGES["docs/configuration.md"].splitlines() if line.startswith(f"| {group}"))
    options = {path.stem for path in (ROOT / "conf" / GROUPS[group]).glob("*.yaml")}
    assert options <= set(re.findall(r"`(\w+)`", row))


def test_every_group_is_listed() -> None:
    folders = {str(path.parent.relative_to(ROOT / "conf")) for path in (ROOT / "conf").rglob("*/*.yaml")}
    bases = {"data/base", "model/base", "hydra/help"}  # what other options and commands start from
    assert folders == {*GROUPS.values(), *bases}


def test_the_picture_of_the_architecture_is_that_of_the_layers() -> None:
    (picture,) = blocks("mermaid", "docs/architecture.md")
    assert set(re.findall(r"^ +(\w+)\[", picture, flags=re.MULTILINE)) == {*LEVEL}
    arrows = re.findall(r"^ +(\w+) --> ([\w &]+)$", picture, flags=re.MULTILINE)
    drawn = {(upper, lower) for upper, lowers in arrows for lower in lowers.split(" & ")}
    assert drawn == {(upper, lower) for upper in LEVEL for lower in LEVEL if LEVEL[upper] == LEVEL[lower] + 1}


def test_files_that_the_architecture_names_exist() -> None:
    named = set(re.findall(r"`([\w/]+(?:\.py|\.yaml|/))`", PAGES["docs/architecture.md"]))
    assert len(named) > 20
    for name in named:
        assert any((folder / name).exists() for folder in (PACKAGE, ROOT, *PACKAGE.glob("*/"))), name


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_repository_that_are_named_exist(page: str) -> None:
    for name in re.findall(r"`((?:src|tests|docs|conf|notebooks|space|constraints)/[\w./-]*)`", PAGES[page]):
        assert (ROOT / name).exists(), name
