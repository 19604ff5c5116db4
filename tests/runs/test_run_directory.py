"""Only one module names the files of a run directory."""

import ast
from pathlib import Path

import pytest

import srgan_lightning
from srgan_lightning.runs.layout import RunDirectory

SOURCE = Path(srgan_lightning.__file__).parent
NAMES = (
    "last.ckpt",
    "generator.safetensors",
    "discriminator.safetensors",
    "summary.json",
    "metrics.csv",
    "provenance.json",
    "health.log",
    ".hydra",
)


def paths_in(file: Path) -> list[str]:
    """Return a module's strings that end with a run's file name; strings with spaces are messages."""
    texts = (node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant))
    return [text for text in texts if isinstance(text, str) and " " not in text and text.endswith(NAMES)]


def test_no_other_file_of_src_names_a_file_of_a_run() -> None:
    found = {(file.relative_to(SOURCE).as_posix(), text) for file in SOURCE.rglob("*.py") for text in paths_in(file)}
    assert not {entry for entry in found if entry[0] != "runs/layout.py"}
    assert sum(entry[0] == "runs/layout.py" for entry in found) >= len(NAMES) - 1


def test_the_checkpoints_are_files(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.checkpoints() == []
    run.last.mkdir(parents=True)
    (run.last.parent / "best.ckpt").touch()
    assert [path.name for path in run.checkpoints()] == ["best.ckpt"]


@pytest.mark.parametrize("name", ["history", "summary", "provenance", "artifact", "health_log", "last", "config"])
def test_every_file_is_in_the_directory(tmp_path: Path, name: str) -> None:
    assert tmp_path in getattr(RunDirectory(tmp_path), name).parents


def test_runs_of_wandb_are_in_the_order_of_their_starts(tmp_path: Path) -> None:
    """The last one is resumed, whether it ran online or offline."""
    names = ["offline-run-20261127_080000-aa", "run-20261127_090000-aa", "offline-run-20261127_100000-bb"]
    for name in (*names, "latest-run", "settings"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    assert [path.name for path in RunDirectory(tmp_path).wandb_runs()] == names
