"""Paths in a checkpoint are not trusted, so nothing outside the run is removed. File dates are not used."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from srgan_lightning.runs.checkpoint_io import AtomicCheckpointIO
from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.runs.resume import find_checkpoint, run_directory
from srgan_lightning.train import train
from srgan_lightning.training.callbacks import RunCheckpoint
from tests.helpers.stops import SHORT, configuration


def victims(folder: Path) -> list[str]:
    """Return paths of all kinds to a user's folder and file."""
    (folder / "photos").mkdir()
    (folder / "photos/one.jpg").touch()
    (folder / "runs/0/checkpoints/link.ckpt").symlink_to(folder / "photos")
    (folder / "runs/0/checkpoints/kept.txt").touch()
    return [
        str(folder / "photos"),
        f"local://{folder}/photos",
        f"file://{folder}/photos",
        f"{folder}/runs/0/checkpoints/../../../photos",
        "../../../photos/one.jpg",
        str(folder / "photos/one.jpg"),
        str(folder / "runs/0/checkpoints/link.ckpt"),
        str(folder / "runs/0/checkpoints/kept.txt"),
        str(folder / "runs/0/checkpoints"),
        "s3://somebodys-bucket/photos",
        "..",
        "",
        "a" * 5000 + "\0",
    ]


@pytest.mark.slow
def test_paths_in_a_checkpoint_remove_nothing(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning would delete any file that a checkpoint names as the best one."""
    monkeypatch.chdir(copied)
    last = copied / "checkpoints/last.ckpt"
    content = torch.load(last, weights_only=True)
    for victim in victims(tmp_path):
        for state in (state for name, state in content["callbacks"].items() if "RunCheckpoint" in name):
            worst = {victim: torch.tensor(-1.0)}
            state |= {"best_model_path": victim, "kth_best_model_path": victim, "last_model_path": victim}
            state |= {"best_k_models": worst, "kth_value": worst[victim], "best_model_score": worst[victim]}
        torch.save(content, last)
        if victim.startswith("local:"):  # one complete run, in which a validation replaces the best
            train(configuration(copied, SHORT, ckpt_path=str(last), trainer={"max_steps": 3}))
        callback = RunCheckpoint(dirpath=copied / "checkpoints", monitor="val/psnr_y", mode="max")
        callback.load_state_dict(state)
        assert (callback.best_model_path, callback.best_k_models, callback.last_model_path) == ("", {}, "")
    assert (tmp_path / "photos/one.jpg").exists()


@pytest.mark.slow
def test_a_run_removes_only_files_of_its_own_checkpoints(copied: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(copied / "checkpoints")
    paths = victims(tmp_path)
    io = AtomicCheckpointIO()
    io.remove_checkpoint(copied / "checkpoints/best.ckpt")  # this run has not written there
    assert (copied / "checkpoints/best.ckpt").exists()
    io.save_checkpoint({}, copied / "checkpoints/new.ckpt")
    before = sorted(path for path in tmp_path.rglob("*") if path.name != "kept.txt")
    for path in paths[:-1]:
        io.remove_checkpoint(path)
    assert sorted(path for path in tmp_path.rglob("*") if path.name != "kept.txt") == before
    io.remove_checkpoint(copied / "checkpoints/new.ckpt")
    assert not (copied / "checkpoints/new.ckpt").exists()


def test_several_best_checkpoints_are_restored_by_name(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.ckpt").touch()
    callback = RunCheckpoint(dirpath=tmp_path, monitor="val/psnr_y", mode="max", save_top_k=3)
    scores = {
        f"elsewhere/{name}.ckpt": torch.tensor(score) for name, score in zip("abcd", (2.0, 3.0, 1.0, 9.0), strict=True)
    }
    state: dict[str, Any] = {"best_model_path": "elsewhere/d.ckpt", "last_model_path": "", "best_k_models": scores}
    callback.load_state_dict(state)
    assert callback.best_model_path == str(tmp_path / "b.ckpt")
    assert callback.kth_best_model_path == str(tmp_path / "c.ckpt")
    assert (float(callback.best_model_score or 0), float(callback.kth_value)) == (3.0, 1.0)
    assert callback.best_k_models.keys() == {str(tmp_path / f"{name}.ckpt") for name in "abc"}


@pytest.mark.slow
def test_last_is_the_checkpoint_of_most_updates_whatever_the_dates(copied: Path, finished: Path) -> None:
    """A download or a copy may leave `best` newer than `last`."""
    last, best = (copied / f"checkpoints/{name}.ckpt" for name in ("last", "best"))
    train(configuration(copied, SHORT, ckpt_path="last", trainer={"max_steps": 3}))
    shutil.copy(finished / "checkpoints/best.ckpt", best)  # of update 2
    os.utime(last, ns=(0, 0))
    newest = last.read_bytes()
    assert find_checkpoint("last", RunDirectory(copied)) == str(last)
    train(configuration(copied, SHORT, ckpt_path=str(best)))  # an older one on purpose; nothing is left to train
    assert last.read_bytes() == newest
    assert train(configuration(copied, SHORT, ckpt_path="last", trainer={"max_steps": 4}))["steps"] == 4


@pytest.mark.slow
def test_between_runs_the_dates_decide(copied: Path) -> None:
    """The run that was written last is resumed, even if it has fewer updates."""
    later = Path(shutil.copytree(copied, copied.with_name("1")))
    for path in (later / "checkpoints").iterdir():
        os.utime(path)
    train(configuration(copied, SHORT, ckpt_path="last", trainer={"max_steps": 3}))
    for path in (copied / "checkpoints").iterdir():
        os.utime(path, ns=(0, 0))
    assert run_directory("last", str(copied.with_name("new"))) == str(later)
    found = find_checkpoint("last", RunDirectory(copied.with_name("new")))
    assert found is not None
    assert Path(found).parents[1] == later
