"""`upscale` and the file system: no file is lost, no file stops the others, and all kinds of names work."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from srgan_lightning.artifacts.artifact import save_artifact
from srgan_lightning.imaging.files import partial_name
from srgan_lightning.inference.predict import upscale_files
from srgan_lightning.inference.record import NAME
from srgan_lightning.utils.bf16 import choose_precision
from srgan_lightning.utils.errors import UserError
from tests.helpers.generators import tiny_artifact, tiny_generator
from tests.helpers.pictures import smooth, upscale


@pytest.fixture
def weights(tmp_path: Path) -> str:
    return str(tiny_artifact(tmp_path, global_skip="bicubic"))


@pytest.fixture
def others(tmp_path: Path) -> str:
    """Write other weights of the same architecture."""
    torch.manual_seed(1)
    save_artifact(tmp_path / "others.safetensors", tiny_generator(global_skip="bicubic"), {})
    return str(tmp_path / "others.safetensors")


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one paragraph with which the program refuses its input."""
    capsys.readouterr()
    assert upscale(*arguments) == 1
    text = capsys.readouterr().err.strip()
    assert "\n" not in text
    return text


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_no_result_replaces_an_input(
    tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    smooth().save("a.png")
    smooth(size=(7, 5)).save("a_x4.png")
    before = Path("a_x4.png").read_bytes()
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    for out in (".", tmp_path, tmp_path / "link"):
        for options in ([], ["--overwrite"], ["--resume"]):
            told = refusal(capsys, "a.png", "a_x4.png", "-o", out, "--weights", weights, *options)
            assert "a_x4.png is an input, and the result of a.png would replace it" in told
    assert Path("a_x4.png").read_bytes() == before


def test_results_are_replaced_only_when_asked(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        smooth().save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    out.mkdir()
    (out / "b_x4.png").write_text("mine")
    arguments = (tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png", "--weights", weights)
    told = refusal(capsys, *arguments, "-o", out)
    assert "1 of 3 results, such as " in told
    assert "b_x4.png, exist already: skip them with --resume, replace them with --overwrite" in told
    assert (out / "b_x4.png").read_text() == "mine"
    assert not (out / "a_x4.png").exists()
    assert upscale(*arguments, "-o", out, "--overwrite") == 0
    assert f"3 of 3 images written to {out}, 1 of them replacing older results." in last_line(capsys)
    assert Image.open(out / "b_x4.png").size == (92, 68)
    (out / "b_x4.png").unlink()
    assert upscale(*arguments, "-o", out, "--resume") == 0
    assert f"1 of 3 images written to {out}, 2 skipped because they exist." in last_line(capsys)
    assert "--overwrite" in refusal(capsys, arguments[0], "-o", out / "b_x4.png", "--weights", weights)


def test_resume_keeps_no_results_of_other_weights(
    tmp_path: Path, weights: str, others: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in/deeper").mkdir(parents=True)
    smooth().save(tmp_path / "in/a.png")
    smooth().save(tmp_path / "in/deeper/b.png")
    start = (tmp_path / "in", "-o", tmp_path / "out", "--weights")
    results = [tmp_path / "out/a_x4.png", tmp_path / "out/deeper/b_x4.png"]
    assert upscale(*start, weights) == 0
    first = [path.read_bytes() for path in results]
    results[1].unlink()
    other = "32" if choose_precision("auto", torch.device("cpu")) == "bf16" else "bf16"
    for options in ([others], [weights, "--alpha", "generator"], [weights, "--precision", other]):
        told = refusal(capsys, *start, *options, "--resume")
        assert "1 of 2 results, such as " in told
        assert "made with other weights or options" in told
    assert not results[1].exists()
    assert upscale(*start, weights, "--resume") == 0
    assert [path.read_bytes() for path in results] == first
    assert upscale(*start, others, "--resume", "--overwrite") == 0
    assert "2 of 2 images written" in capsys.readouterr().out
    assert all(path.read_bytes() != old for path, old in zip(results, first, strict=True))
    results[0].unlink()
    assert upscale(*start, others, "--resume", "--overwrite") == 0
    assert "1 of 2 images written" in capsys.readouterr().out
    assert "other weights" in refusal(capsys, *start, weights, "--resume")


def test_a_damaged_record_does_no_harm(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    smooth().save(tmp_path / "a.png")
    start = (tmp_path / "a.png", "-o", tmp_path / "out", "--weights", weights)
    assert upscale(*start) == 0
    for content in (b'["a_x4.png", "ab', b"\xff\xfe\n{}\n[1]\n[[], {}]\nnull\n", b"[" * 100_000, b""):
        (tmp_path / "out" / NAME).write_bytes(content)
        assert upscale(*start, "--resume") == 0  # a result without a record is assumed to be right
        assert "1 skipped" in capsys.readouterr().out


def test_bad_names_and_folders_do_not_end_a_run(
    tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One name is too long with the suffix, and one folder is a file. The other images are written."""
    (tmp_path / "in/sub").mkdir(parents=True)
    long, longest = "l" * 248, "m" * 250  # at most 255 bytes; `_x4.png` adds 7 to a stem
    for name in ("a", "z", "sub/b", long, longest):
        smooth().save(tmp_path / f"in/{name}.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").write_text("a file in the way")
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights) == 1
    told = capsys.readouterr()
    assert "3 of 5 images written" in told.out
    assert "2 could not be upscaled" in told.err
    assert f"{longest}_x4.png cannot be written: File name too long" in told.err
    assert "b_x4.png cannot be written" in told.err
    assert {path.name for path in (tmp_path / "out").glob("*_x4.png")} == {"a_x4.png", "z_x4.png", f"{long}_x4.png"}
    assert not list((tmp_path / "out").glob(".*.partial"))


def test_impossible_names_are_refused(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    smooth().save(tmp_path / "a.png")
    (tmp_path / "big").write_text("a file")
    start = ("--weights", weights, "-o")
    assert "big is a file: give a folder" in refusal(capsys, tmp_path / "a.png", *start, tmp_path / "big")
    assert (tmp_path / "big").read_text() == "a file"
    assert "no such file" in refusal(capsys, "x" * 300, *start, tmp_path / "out")


def test_pipes_and_devices_are_refused(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "notes.txt").write_text("no image")
    for text in (tmp_path / "pipe.png", "/dev/null", tmp_path / "*.txt"):
        assert "no image files" in refusal(capsys, text, "-o", tmp_path / "out", "--weights", weights)
    assert "no image files" in refusal(capsys, tmp_path, "-o", tmp_path / "out", "--weights", weights)


@pytest.mark.parametrize(
    ("device", "gpus", "advice"),
    [
        ("cuda", 2, "--device cuda has 2. Use --jobs 2."),
        ("cuda:0", 4, "--device cuda:0 has 1. Use --jobs 1, or --device cuda without a number."),
        ("cuda:0", 2, "--device cuda:0 has 1. Use --jobs 1."),
        ("mps", 0, "--device mps has 1. Use --jobs 1."),
    ],
)
def test_too_many_jobs_for_gpus_get_advice_that_works(
    device: str, gpus: int, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    nothing: Any = None
    with pytest.raises(UserError) as refused:
        upscale_files([nothing] * 9, nothing, torch.device(device), 3)
    assert str(refused.value) == f"--jobs 3 with --device {device}: each process needs its own GPU, and {advice}"


def test_names_reach_the_terminal_escaped(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b]0;owned\x07\x1b[2J\u202egnp\x9b31m\n.png"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_text("no image")
    smooth().save(tmp_path / f"in/{name}b.png")
    smooth("RGBA").save(os.fsencode(tmp_path / "in/") + b"/bytes\xff.png")
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--format", "jpg") == 1
    told = capsys.readouterr()
    assert "2 of 3 images written" in told.out
    assert r"\x1b]0;owned\x07\x1b[2J\u202egnp\x9b31m\n.png: " in told.err
    assert r"bytes\udcff.png: its alpha channel is left out" in told.err
    upscale(tmp_path / "in" / name, "-o", tmp_path / "in" / name, "--weights", weights)
    upscale(tmp_path / name, "-o", tmp_path / name, "--weights", weights)
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--format", "jpg") == 1
    all_of_it = "".join((told.out, told.err, *capsys.readouterr())).replace("\n", "")
    assert all_of_it.isprintable()


def test_links_to_folders_are_followed_once(tmp_path: Path, weights: str) -> None:
    """Test circular links too. A link to a folder that is searched anyway adds nothing."""
    (tmp_path / "in/real").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    smooth().save(tmp_path / "in/real/a.png")
    smooth().save(tmp_path / "elsewhere/b.png")
    for link, folder in {
        "in/a_link": "in/real",
        "in/far": "elsewhere",
        "in/far_again": "elsewhere",
        "in/real/circle": "in",
        "elsewhere/back": "in",
        "in/lost": "nowhere",
        "in/out": "out",
    }.items():
        (tmp_path / link).symlink_to(tmp_path / folder)
    (tmp_path / "out").mkdir()
    (tmp_path / "in/c.png").symlink_to(tmp_path / "elsewhere/b.png")
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights) == 0
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*_x4.png")}
    assert written == {"real/a_x4.png", "far/b_x4.png", "c_x4.png"}


def test_a_partial_file_has_one_short_name() -> None:
    assert partial_name(Path("a/b.png")) == partial_name(Path("c/b.png")) != partial_name(Path("b.jpg"))
    assert len(partial_name(Path("n" * 255))) < 40
