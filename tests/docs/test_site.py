"""The site of docs/ builds without a warning, and its options page shows all of conf/."""

import html
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.documents import PAGES, ROOT

CONF = ROOT / "conf"


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("configuration_page", ROOT / "docs/configuration_page.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_holds_every_option_of_every_file(hook: ModuleType) -> None:
    page = hook.every_option(CONF)
    for path in CONF.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        if path.parent == CONF:  # of a command, without Hydra's own settings
            text = text.split("\nhydra:\n")[0]
        options = [line for line in text.splitlines() if not line.startswith("#")]
        assert "\n".join(options).strip() in page, path
    assert page.count("```") == 2 * len(list(CONF.rglob("*.yaml")))


def test_every_option_file_is_described() -> None:
    for path in CONF.rglob("*/*.yaml"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "# @package" not in line]
        assert lines[0].startswith("# "), f"{path} begins without a comment that says what it is for"


def test_angle_brackets_of_a_comment_are_text(hook: ModuleType) -> None:
    text = "# @package _global_\n# From <run>,\n# whole.\na: 1  # b\n"
    assert hook.section("### one", text) == (
        "### one\n\nFrom &lt;run&gt;, whole.\n\n```yaml\n# @package _global_\na: 1  # b\n```\n"
    )


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs the extra docs")
    pytest.importorskip("mkdocstrings", reason="needs the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    for page in PAGES:
        name = Path(page).stem
        if page.startswith("docs/") and name != "index":
            assert (tmp_path / name / "index.html").is_file(), page
    text = re.sub(r"<[^>]*>", "", (tmp_path / "configuration/index.html").read_text(encoding="utf-8"))
    assert "fused: true               # faster, with the same results" in html.unescape(text)
    assert not list(tmp_path.rglob("*.py"))  # the scripts of docs/ are no pages
