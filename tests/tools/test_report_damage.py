"""`report` on damaged and foreign run directories: it names each and skips it, or prints one paragraph."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srgan_lightning.report import main
from tests.helpers.generators import tiny_artifact

CONFIG = """\
scale: 4
data: {_target_: srgan_lightning.data.synthetic.SyntheticData, train_images: 2, val_images: 2, size: 64, crop: 32}
degradation: {_target_: srgan_lightning.data.degradation.Bicubic, scale: '${scale}'}
"""
SUMMARY = {"psnr_y": 30.0, "ssim_y": 0.9, "swd": 0.2, "bicubic_psnr_y": 28.0, "bicubic_ssim_y": 0.8, "bicubic_swd": 0.4}
METRICS = "step,epoch,val/psnr_y,d_real\n1,0,,0.5\n2,0,29.5,0.6\n"

Damage = Callable[[Path], Any]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Write two finished runs by hand; the tests damage the second."""
    for number in ("0", "1"):
        run = tmp_path / "sweep" / number
        (run / ".hydra").mkdir(parents=True)
        (run / ".hydra/config.yaml").write_text(CONFIG)
        (run / ".hydra/overrides.yaml").write_text(f"- loss.adversarial={number}\n")
        summary = SUMMARY | {"psnr_y": 30.0 + int(number), "swd": 0.2 + 0.1 * int(number)}
        (run / "summary.json").write_text(json.dumps(summary))
        (run / "metrics.csv").write_text(METRICS)
        tiny_artifact(run).rename(run / "generator.safetensors")
    return tmp_path / "sweep"


def write(name: str, content: str | bytes) -> Damage:
    return lambda run: (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def become(name: str, by: Callable[[Path], Any]) -> Damage:
    return lambda run: ((run / name).unlink(), by(run / name))


def summary(**values: Any) -> Damage:
    return write("summary.json", json.dumps(SUMMARY | values))


def config(text: str) -> Damage:
    return write(".hydra/config.yaml", text)


def doubling(line: str, first: str) -> str:
    return "".join([f"a0: {first}\n", *(line.format(n, n - 1) for n in range(1, 60))])


SKIPPED: dict[str, Damage] = {
    "summary torn": write("summary.json", '{"psnr_y": 30.0, "ss'),
    "summary empty": write("summary.json", ""),
    "summary a list": write("summary.json", "[1, 2]"),
    "summary of pairs": write("summary.json", '[["psnr_y", 3]]'),
    "summary null": write("summary.json", "null"),
    "summary binary": write("summary.json", bytes(range(256))),
    "summary nested": write("summary.json", "[" * 100_000),
    "summary of text": summary(psnr_y="30"),
    "summary of a list": summary(ssim_y=[1]),
    "summary null score": summary(bicubic_psnr_y=None),
    "summary NaN": summary(psnr_y=float("nan")),
    "summary infinite": summary(swd=float("inf")),
    "summary huge": write("summary.json", json.dumps(SUMMARY).replace("30.0", "1" + "0" * 400)),
    "summary long number": write("summary.json", json.dumps(SUMMARY).replace("30.0", "1" * 5000)),
    "summary without bicubic": write("summary.json", '{"psnr_y": 30.0, "ssim_y": 0.9}'),
    "summary a pipe": become("summary.json", os.mkfifo),
    "weights empty": write("generator.safetensors", b""),
    "weights junk": write("generator.safetensors", b"\xff" * 100),
    "weights a folder": become("generator.safetensors", Path.mkdir),
    "config empty": config(""),
    "config a list": config("- 1\n"),
    "config torn": config(CONFIG[:40] + '"'),
    "config binary": config("\0\1\2"),
    "config tagged": config("scale: !!python/object/apply:os.getcwd []\n"),
    "config of itself": config("scale: 4\na: &a [*a]\n"),
    "config of aliases": config(
        "scale: 4\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)).replace("*a0", "x")
    ),
    "config nested": config("scale: 4\na: " + "[" * 5000),
    "config a pipe": become(".hydra/config.yaml", os.mkfifo),
    "config long": config(CONFIG + "x: " + "y" * 1_000_000),
    "scale text": config(CONFIG.replace("scale: 4", "scale: four")),
    "scale another": config(CONFIG.replace("scale: 4", "scale: 2")),
    "scale of itself": config(CONFIG.replace("scale: 4", "scale: ${scale}")),
    "scale of nothing": config(CONFIG.replace("scale: 4", "scale: ${a.b}")),
}
#: The first run's data, from which crops are made.
WITHOUT_CROPS: dict[str, Damage] = {
    "data a list": config("scale: 4\ndata: [1]\ndegradation: 3\n"),
    "data missing": config("scale: 4\n"),
    "data of unknown options": config(CONFIG.replace("crop: 32", "crop: 32, nonsense: 1")),
    "data of wrong kinds": config(CONFIG.replace("val_images: 2", "val_images: [x]")),
    "data negative": config(CONFIG.replace("val_images: 2", "val_images: -5")),
    "data of text without end": config(
        CONFIG.replace("crop: 32", "crop: '${a59}'") + doubling("a{0}: '${{a{1}}}${{a{1}}}'\n", "x")
    ),
    "data of groups without end": config(
        CONFIG.replace("crop: 32", "crop: '${a59}'") + doubling("a{0}: {{x: '${{a{1}}}', y: '${{a{1}}}'}}\n", "1")
    ),
    "data of a reference made of another": config(
        CONFIG.replace("srgan_lightning.data.synthetic.SyntheticData", "'${${a}}'") + "a: b\nb: os.system\n"
    ),
}


def check_said(text: str) -> None:
    assert "Traceback" not in text
    assert all(character.isprintable() or character in "\n\t" for character in text)


@pytest.mark.slow
@pytest.mark.parametrize("damage", SKIPPED.values(), ids=SKIPPED.keys())
def test_a_damaged_run_of_a_sweep_is_skipped_by_name(
    sweep: Path, capsys: pytest.CaptureFixture[str], damage: Damage
) -> None:
    damage(sweep / "1")
    start = time.process_time()
    assert main([str(sweep), "--perception", "swd"]) == 0
    assert time.process_time() - start < 10
    said = capsys.readouterr().out
    check_said(said)
    assert "Run 1 is skipped: " in said or "Unfinished (stopped, or still running): 1." in said
    assert f"PSNR-Y 30.00 dB): {sweep}/0/generator.safetensors" in said
    assert (sweep / "report.png").is_file()


@pytest.mark.parametrize("damage", WITHOUT_CROPS.values(), ids=WITHOUT_CROPS.keys())
def test_a_run_whose_data_are_damaged_is_compared_without_crops(
    sweep: Path, capsys: pytest.CaptureFixture[str], damage: Damage
) -> None:
    damage(sweep / "0")
    start = time.process_time()
    assert main([str(sweep), "--perception", "swd"]) == 0
    assert time.process_time() - start < 10
    said = capsys.readouterr().out
    check_said(said)
    assert "No crops are shown: " in said
    assert "PSNR-Y 31.00 dB" in said


@pytest.mark.parametrize(
    "text",
    [
        CONFIG.replace("scale: 4", "scale: ${oc.env:ITS_SECRET}"),
        CONFIG.replace("size: 64", "size: '${oc.env:ITS_SECRET,64}'"),
        CONFIG.replace("size: 64", "size: '/${oc.env:ITS_SECRET}/photos'"),
    ],
    ids=["scale", "data", "path"],
)
def test_environment_variables_do_not_reach_a_report(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A run of somebody else must not copy a password of this machine into a report, which others may read."""
    monkeypatch.setenv("ITS_SECRET", "s3cret")
    config(text)(sweep / "0")
    assert main([str(sweep), "--perception", "swd"]) == 0
    said = capsys.readouterr().out
    assert "oc.env:ITS_SECRET" in said
    assert "which a report does not read" in said
    assert "s3cret" not in said + (sweep / "report.md").read_text()


HOSTILE = "[/x] [red]$\\frac{ $a$ <b> | *c* \x1b[31m \n# d"


def test_names_are_shown_as_text(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sweep / "1").rename(sweep / HOSTILE.replace("/", ""))
    (sweep / "2" / ".hydra").mkdir(parents=True)
    (sweep / os.fsdecode(b"\xff\xfe") / ".hydra").mkdir(parents=True)
    shutil.copytree(sweep / "0", sweep / "²")  # a Unicode digit that is not a number
    (sweep / "0/.hydra/overrides.yaml").write_text(json.dumps([f"a={HOSTILE}", 3, None, [1]]))
    (sweep / "2/train.log").write_bytes(b"[ERROR] - Job 2 failed. \x1b[31m[/x]\xff\0\n")
    assert main([str(sweep), "--perception", "swd"]) == 0
    said = capsys.readouterr().out
    check_said(said)
    assert "[/x]" in said
    assert "<b>" not in (sweep / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "drawn"),
    [
        (METRICS + "3,0,29", True),
        (METRICS + "3,0,29.x,0.5\n4,0,nan,inf\n5,0,1e400,1e39\n", True),
        (METRICS + "3,0,29,0.5,7,8,9\n", True),
        (METRICS.replace("29.5", "29\0.5"), True),
        (METRICS + '4,0,"29\n5,0,29,0.5\n', True),
        (METRICS + "-1,0,2,2\n1e3,0,2,2\n" + "9" * 400 + ",0,2,2\n²,0,2,2\n", True),
        (METRICS + "3,0," + "9" * 200_000 + ",0.5\n", True),
        (METRICS.encode() + b"\xff\xfe\x00,\n", True),
        (METRICS.replace("step", "stop"), False),
        ("", False),
        ("\0" * 1000, False),
        ("step,epoch\n1,2\n", False),
        ("step,else\n1,2\n", False),
        (bytes(range(256)) * 40, False),
    ],
    ids=range(14),
)
def test_damaged_curves(sweep: Path, capsys: pytest.CaptureFixture[str], content: str | bytes, drawn: bool) -> None:
    write("metrics.csv", content)(sweep / "1")
    assert main([str(sweep / "1")]) == (0 if drawn else 1)
    assert (sweep / "1/curves.png").is_file() == drawn
    error = capsys.readouterr().err
    check_said(error)
    assert error.count("\n") == (0 if drawn else 1)


def test_a_folder_that_cannot_be_written_to_is_named(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sweep / "file").touch()
    for path in (sweep, sweep / "1"):
        assert main([str(path), "--perception", "swd", "-o", str(sweep / "file" / "below")]) == 1
        error = capsys.readouterr().err
        assert str(sweep / "file") in error
        assert "-o DIR" in error
        assert error.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_run_of_another_user_raises_user_error_with_advice(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        theirs = shutil.copytree(sweep, Path(folder, "sweep"))
        os.seteuid(65534)
        try:
            codes = main([str(theirs), "--perception", "swd"]), main([str(theirs / "1")])
        finally:
            os.seteuid(0)
        error = capsys.readouterr().err
        assert codes == (1, 1)
        assert error.count("Permission denied. Use -o DIR to write to another folder.\n") == 2
        assert not list(Path(folder).rglob("*.partial"))
