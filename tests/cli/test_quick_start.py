"""Commands answer at once: --help and misspelt options do not wait for torch, Lightning or torchvision."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from srgan_lightning.artifacts import export as exporting
from srgan_lightning.export import FORMATS
from srgan_lightning.report import MEASURES
from srgan_lightning.tools.report.perception import SAYS

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
COMMANDS = [script.removeprefix("srgan_lightning.") for script in PROJECT["project"]["scripts"].values()]
HEAVY = {"torch", "lightning", "torchvision", "torchmetrics", "matplotlib", "gradio", "wandb"}


def imported(module: str, *arguments: str) -> tuple[int, str, set[str]]:
    """Run a command; return its exit code, output, and imported packages."""
    command = [sys.executable, "-X", "importtime", "-m", f"srgan_lightning.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    packages = {name.partition(".")[0] for name in re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.M)}
    return done.returncode, done.stdout + done.stderr, packages


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_no_torch(command: str) -> None:
    module = command.removesuffix(":main")
    code, said, packages = imported(module, "--help")
    assert code == 0, said
    assert f"srgan_lightning.{module}" in said
    assert "argparse" in packages  # the imports were seen
    assert not packages & HEAVY


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["loss.pixle=1"], ["los=pixel"], ["--weights", "a"]])
def test_misspelt_options_import_no_torch(arguments: list[str]) -> None:
    code, said, packages = imported("train", *arguments)
    assert code in (1, 2)
    assert "did you mean" in said or "without dashes" in said
    assert not packages & HEAVY


@pytest.mark.parametrize("module", ["upscale", "export", "report", "benchmark", "demo"])
def test_bad_usage_ends_in_the_parser(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The test above has shown that --help needs no torch."""
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module(f"srgan_lightning.{module}").main(["--nonsense"])
    assert f"usage: python -m srgan_lightning.{module}" in capsys.readouterr().err


def test_choices_are_those_of_the_modules() -> None:
    assert (*exporting.FORMATS,) == FORMATS
    assert ("auto", *SAYS) == MEASURES
