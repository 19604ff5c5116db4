"""`python -m srgan_lightning.upscale`: folders, broken files, kills, several processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan_lightning import upscale_image
from srgan_lightning.inference.record import NAME
from srgan_lightning.upscale import main
from srgan_lightning.utils.errors import UserError
from tests.helpers.generators import tiny_artifact
from tests.helpers.pictures import SRGB, header_bomb, smooth, upscale, write_png16

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def weights(tmp_path: Path) -> str:
    return str(tiny_artifact(tmp_path, global_skip="bicubic"))


def broken_folder(folder: Path) -> tuple[set[str], set[str]]:
    """Fill a folder; return the names of the valid and of the invalid files."""
    (folder / "deeper").mkdir(parents=True)
    smooth().save(folder / "good.jpg")
    smooth("RGBA").save(folder / "deeper/good.png")
    smooth(size=(1, 1)).save(folder / "one.png")
    jpeg = (folder / "good.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(jpeg[: len(jpeg) * 2 // 3])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("Dear reader, this is no image.")
    (folder / "bomb.png").write_bytes(header_bomb())
    write_png16(folder / "deep.png", np.zeros((30, 30, 3), np.uint16))
    deep = (folder / "deep.png").read_bytes()
    (folder / "deep.png").write_bytes(deep[: len(deep) // 2])
    (folder / "notes.txt").write_text("not an image, and not named as one")
    return {"good.jpg", "good.png", "one.png"}, {"truncated.jpg", "empty.png", "text.png", "bomb.png", "deep.png"}


def files_below(folder: Path) -> dict[str, bytes]:
    """Return every file and its content, also hidden ones, except the record."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != NAME]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


WRITTEN = {"good_x4.jpg", "deeper/good_x4.png", "one_x4.png"}


def test_broken_files_do_not_stop_a_folder(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = broken_folder(tmp_path / "in")
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights) == 1
    assert set(files_below(tmp_path / "out")) == WRITTEN
    assert Image.open(tmp_path / "out/one_x4.png").size == (4, 4)
    told = capsys.readouterr()
    assert "3 of 8 images written" in told.out
    assert "5 could not be upscaled" in told.err
    assert all(f"{name}: " in told.err for name in bad)
    assert not any(f"{name}: " in told.err for name in good)
    assert "maximum of 89,478,485" in told.err


def test_resume_skips_existing_results(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for name in "abc":
        smooth().save(tmp_path / f"in/{name}.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b_x4.png").write_text("was there")
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--resume") == 0
    assert (tmp_path / "out/b_x4.png").read_text() == "was there"
    assert "2 of 3 images written" in capsys.readouterr().out
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--resume") == 0
    assert "0 of 3 images written" in capsys.readouterr().out
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--overwrite") == 0
    assert Image.open(tmp_path / "out/b_x4.png").size == (92, 68)


def test_one_input_to_one_file(tmp_path: Path, weights: str) -> None:
    smooth().save(tmp_path / "photo.png")
    assert upscale(tmp_path / "photo.png", "-o", tmp_path / "new/large.jpg", "--weights", weights) == 0
    assert Image.open(tmp_path / "new/large.jpg").size == (92, 68)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one paragraph with which the program refuses its input."""
    assert upscale(*arguments) == 1
    text = capsys.readouterr().err.strip()
    assert "\n" not in text
    return text


def test_refusals(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    smooth().save(tmp_path / "in/a.png")
    smooth().save(tmp_path / "in/a.jpg")
    start: tuple[Any, ...] = ("--weights", weights, tmp_path / "in", "-o")
    out = tmp_path / "out"
    assert "would both be written" in refusal(capsys, *start, out, "--format", "png")
    assert "is also an input" in refusal(capsys, *start, tmp_path / "in")
    assert "is not a single existing file" in refusal(capsys, *start, tmp_path / "out.png")
    for ending in ("gif", "JPGG", "heic"):
        told = refusal(capsys, "--weights", weights, tmp_path / "in/a.png", "-o", tmp_path / f"out.{ending}")
        assert f".{ending} is not a format that can be written: use .png, .jpg, " in told
        assert not (tmp_path / f"out.{ending}").exists()
    assert "tile=3" in refusal(capsys, *start, out, "--tile", "3")
    assert "no such file or folder" in refusal(capsys, "--weights", weights, tmp_path / "none*", "-o", out)
    assert "no such file" in refusal(capsys, "--weights", "none", tmp_path / "in", "-o", out)
    one = tmp_path / "in/a.png"
    assert "replaced by its own result" in refusal(capsys, "--weights", weights, one, "-o", one)
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments", [[], ["a.png"], ["a.png", "-o", "b", "--jobs", "0"], ["a", "-o", "b", "--alpha", "x"]]
)
def test_bad_usage_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


def test_results_inside_an_input_folder_are_no_inputs(tmp_path: Path, weights: str) -> None:
    smooth().save(tmp_path / "a.png")
    for _ in range(2):
        assert upscale(tmp_path, "-o", tmp_path / "out", "--weights", weights, "--overwrite") == 0
    assert set(files_below(tmp_path / "out")) == {"a_x4.png"}


def test_upscale_image_takes_a_path_and_keeps_metadata(weights: str) -> None:
    image = smooth()
    image.info["icc_profile"] = SRGB
    result = upscale_image(image, weights, device="cpu", tile=16)
    assert (result.mode, result.size, result.info["icc_profile"]) == ("RGB", (92, 68), SRGB)
    with pytest.raises(UserError, match="no such device"):
        upscale_image(image, weights, device="cuda:99")


@pytest.mark.slow
def test_two_processes_share_a_folder(run_module: Run, tmp_path: Path, weights: str) -> None:
    """Two processes write the same files as one, each file once. Rank zero reports the broken files of both."""
    _, bad = broken_folder(tmp_path / "in")
    one = run_module("upscale", "in", "-o", "one", "--weights", weights, "--device", "cpu")
    two = run_module("upscale", "in", "-o", "two", "--weights", weights, "--device", "cpu", "--jobs", "2")
    assert (one.returncode, two.returncode) == (1, 1), two.stderr
    assert files_below(tmp_path / "one") == files_below(tmp_path / "two")
    assert two.stderr.count("could not be upscaled") == 1
    assert all(two.stderr.count(f"{name}: ") == 1 for name in bad)
    assert "Traceback" not in two.stderr


@pytest.mark.slow
def test_a_kill_and_resume_give_the_files_of_one_run(run_module: Run, tmp_path: Path, weights: str) -> None:
    (tmp_path / "in").mkdir()
    for index in range(12):
        smooth(size=(150 + index, 140)).save(tmp_path / f"in/{index}.png")
    arguments = ["in", "--weights", weights, "--device", "cpu"]
    assert run_module("upscale", *arguments, "-o", "whole").returncode == 0

    command = [sys.executable, "-m", "srgan_lightning.upscale", *arguments, "-o", "killed"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    killed = tmp_path / "killed"
    deadline = time.monotonic() + 120
    # If possible within a file, as soon as its hidden partial file exists.
    while (
        not (len(list(killed.glob("*_x4.png"))) >= 2 and list(killed.glob(".*.partial")))
        and time.monotonic() < deadline
    ):
        if process.poll() is not None:
            break
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    present = list(killed.glob("*_x4.png"))
    assert 2 <= len(present) < 12
    for path in present:
        Image.open(path).load()  # whole

    before = {path: path.stat().st_mtime_ns for path in present}
    assert run_module("upscale", *arguments, "-o", "killed", "--resume").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in present} == before
    assert files_below(killed) == files_below(tmp_path / "whole")
