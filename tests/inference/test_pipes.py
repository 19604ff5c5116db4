"""Pictures through standard input and output."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_lightning import upscale_image
from srgan_lightning.upscale import main
from tests.helpers.generators import tiny_artifact
from tests.helpers.pictures import smooth


@pytest.fixture
def weights(tmp_path: Path) -> str:
    return str(tiny_artifact(tmp_path, global_skip="bicubic"))


class Stream(io.TextIOWrapper):
    """Replace standard input or output by bytes."""

    def __init__(self, content: bytes = b"", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content))
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def encoded(form: str, image: Image.Image | None = None) -> bytes:
    stream = io.BytesIO()
    (image or smooth()).save(stream, form)
    return stream.getvalue()


def piped(monkeypatch: pytest.MonkeyPatch, content: Stream, *arguments: object) -> tuple[int, bytes]:
    """Run with bytes as standard input and output; return the exit code and the output."""
    out = Stream()
    monkeypatch.setattr("sys.stdin", content)
    monkeypatch.setattr("sys.stdout", out)
    code = main([*map(str, arguments), "--device", "cpu"])
    assert isinstance(out.buffer, io.BytesIO)
    return code, out.buffer.getvalue()


@pytest.mark.parametrize(("form", "options"), [("PNG", []), ("JPEG", []), ("TIFF", []), ("GIF", []), ("PNG", ["webp"])])
def test_a_picture_through_pipes(
    weights: str, monkeypatch: pytest.MonkeyPatch, form: str, options: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["-", "-o", "-", "--weights", weights, *(["--format", *options] if options else [])]
    code, out = piped(monkeypatch, Stream(encoded(form)), *arguments)
    assert code == 0
    image = Image.open(io.BytesIO(out))
    assert image.size == (92, 68)
    assert image.format == (options[0].upper() if options else {"GIF": "PNG"}.get(form, form))
    if form == "PNG" and not options:
        np.testing.assert_array_equal(np.array(image), np.array(upscale_image(smooth(), weights, device="cpu")))
    assert "1 of 1 images written to standard output." in capfd.readouterr().err


def test_a_pipe_at_one_end(tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    smooth().save(tmp_path / "a.png")
    code, out = piped(monkeypatch, Stream(), tmp_path / "a.png", "-o", "-", "--weights", weights)
    assert code == 0
    assert Image.open(io.BytesIO(out)).size == (92, 68)
    code, out = piped(monkeypatch, Stream(encoded("JPEG")), "-", "-o", tmp_path / "out", "--weights", weights)
    assert code == 0
    assert Image.open(tmp_path / "out/stdin_x4.jpg").size == (92, 68)
    code, out = piped(monkeypatch, Stream(encoded("PNG")), "-", "-o", tmp_path / "b.webp", "--weights", weights)
    assert (code, Image.open(tmp_path / "b.webp").size) == (0, (92, 68))


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (Stream(b"no picture"), ["-", "-o", "-"], "Standard input cannot be read as an image"),
        (Stream(), ["-", "-o", "-"], "it is empty"),
        (Stream(encoded("PNG")[:200]), ["-", "-o", "-"], "standard input: it cannot be read as an image"),
        (Stream(terminal=True), ["-", "-o", "-"], "which is a terminal"),
        (Stream(encoded("PNG")), ["-", "b.png", "-o", "out"], "exactly one input"),
        (Stream(encoded("PNG")), ["-", "-o", "out", "--resume"], "--resume needs file names"),
    ],
)
def test_a_bad_pipe_gets_no_output(
    content: Stream,
    arguments: list[str],
    words: str,
    weights: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert piped(monkeypatch, content, *arguments, "--weights", weights) == (1, b"")
    err = capfd.readouterr().err
    assert words in err
    assert "srgan-pipe" not in err


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_a_closed_pipe_is_refused(
    stream: str, weights: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python sets a stream to None if its descriptor is closed, such as by `<&-` in a shell."""
    monkeypatch.setattr("sys.stdin", Stream(encoded("PNG")))
    monkeypatch.setattr(f"sys.{stream}", None)
    assert main(["-", "-o", "-", "--weights", weights, "--device", "cpu"]) == 1
    assert f"standard {stream.removeprefix('std')}put, which is closed" in capfd.readouterr().err


def test_input_from_a_pipe_is_limited(
    weights: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("srgan_lightning.inference.pipes.MAX_BYTES", 100)
    assert piped(monkeypatch, Stream(encoded("PNG")), "-", "-o", "-", "--weights", weights)[0] == 1
    assert "the limit for a picture" in capfd.readouterr().err


@pytest.mark.slow
def test_a_real_pipe_gets_only_the_image(tmp_path: Path, weights: str) -> None:
    command = [sys.executable, "-m", "srgan_lightning.upscale", "-", "-o", "-", "--weights", weights, "--device", "cpu"]
    result = subprocess.run(command, input=encoded("PNG"), capture_output=True, cwd=tmp_path, timeout=240)
    assert result.returncode == 0, result.stderr
    assert Image.open(io.BytesIO(result.stdout)).size == (92, 68)
    assert b"1 of 1 images written to standard output." in result.stderr
    assert list(tmp_path.iterdir()) == [Path(weights)]
