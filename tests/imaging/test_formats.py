"""Decoders that a file can reach, independent of its name, and invalid EXIF."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.folder import FolderData
from srgan_lightning.imaging.files import read_picture
from srgan_lightning.imaging.reading import FORMATS, decode, image_size, open_image, to_tensor
from srgan_lightning.inference.evaluation import EvaluationSet
from srgan_lightning.tools.data_check.files import Item, check_file
from srgan_lightning.tools.web.request import UpscaleRequest, run_request
from srgan_lightning.utils.errors import UserError
from tests.helpers.generators import tiny_artifact
from tests.helpers.pictures import smooth, upscale, write_png16


def saved(form: str, size: tuple[int, int] = (64, 64)) -> bytes:
    buffer = io.BytesIO()
    smooth(size=size).save(buffer, form)
    return buffer.getvalue()


def psd() -> bytes:
    """Return an uncompressed 64x64 RGB file without layers."""
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 64, 64, 8, 3)
    return header + bytes(4 + 4 + 4 + 2) + bytes(3 * 64 * 64)


def fli() -> bytes:
    """Return one 64x64 frame that copies nothing."""
    frame = struct.pack("<IHH8x", 16, 0xF1FA, 0)
    return struct.pack("<IHHHHHH", 128 + 16, 0xAF12, 1, 64, 64, 8, 3).ljust(128, b"\0") + frame


FOREIGN = {"EPS": saved("EPS"), "PSD": psd(), "FLI": fli(), "ICNS": saved("ICNS")}
MODES = {"EPS": "RGB", "PSD": "RGB", "FLI": "P", "ICNS": "RGBA"}


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `gs` in PATH that writes a file when it is started."""
    started = tmp_path / "started"
    program = tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {started}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # PIL looks for it once per process
    return started


@pytest.mark.parametrize("form", FOREIGN)
def test_only_the_intended_decoders_are_used(
    tmp_path: Path, form: str, ghostscript: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Image.open(io.BytesIO(FOREIGN[form])) as image:
        assert (image.format, image.mode) == (form, MODES[form])  # PIL alone would accept it
    folder = tmp_path / "photos"
    folder.mkdir()
    path = folder / "photo.png"
    path.write_bytes(FOREIGN[form])
    weights = tiny_artifact(tmp_path)
    request = UpscaleRequest(path, weights)
    readers: list[Callable[[], Any]] = [
        lambda: open_image(path, str(path)),
        lambda: open_image(io.BytesIO(FOREIGN[form]), path.name),
        lambda: decode(FOREIGN[form], path.name),
        lambda: image_size(path),
        lambda: read_picture(path),
        lambda: FolderData(str(folder), str(folder), degradation=Bicubic(4), crop=32).setup("fit"),
        lambda: list(EvaluationSet(str(folder), None, Bicubic(4))),
        lambda: EvaluationSet(str(folder), None, Bicubic(4)).remarks(),
        lambda: list(run_request(request, torch.device("cpu"), 10**6, tmp_path)),
    ]
    for read in readers:
        with pytest.raises(UserError, match="its format is unknown; supported are JPEG, "):
            read()
    assert [finding.kind for finding in check_file(Item("train", "photo.png", lambda: path)).findings] == ["unreadable"]
    assert upscale(path, "-o", tmp_path / "out", "--weights", weights) == 1
    assert "its format is unknown" in capsys.readouterr().err
    assert not ghostscript.exists()


def test_the_planted_ghostscript_would_be_started(ghostscript: Path) -> None:
    with Image.open(io.BytesIO(FOREIGN["EPS"])) as image, pytest.raises(Exception):  # noqa: B017, PT011
        image.load()
    assert ghostscript.exists()


@pytest.mark.parametrize("form", [*FORMATS, "MPO"])
def test_the_allowed_formats_are_read(tmp_path: Path, form: str) -> None:
    (tmp_path / "photo.any").write_bytes(saved(form))
    assert to_tensor(open_image(tmp_path / "photo.any", "photo")).shape == (3, 64, 64)
    assert read_picture(tmp_path / "photo.any").colour.shape == (64, 64, 3)


def exif_of(kind: int, value: bytes) -> bytes:
    """Return EXIF with a maker, and an orientation of type 2 (text), 3 (16 bits) or 4 (32 bits)."""
    count = {2: len(value), 3: len(value) // 2, 4: len(value) // 4}[kind]
    data = 8 + 2 + 2 * 12 + 4
    entries = struct.pack("<HHII", 0x010F, 2, 6, data)
    place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", data + 6)
    entries += struct.pack("<HHI", 0x0112, kind, count) + place
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4) + b"Maker\0" + value


@pytest.mark.parametrize("channels", [1, 3])
def test_the_transparent_colour_of_a_16_bit_png_becomes_alpha(tmp_path: Path, channels: int) -> None:
    pixels = np.arange(5 * 4 * channels, dtype=np.uint16).reshape(5, 4, channels) * 1000
    colour = struct.pack(f">{channels}H", *pixels[2, 3])
    write_png16(tmp_path / "photo.png", pixels, (b"tRNS", colour))
    picture = read_picture(tmp_path / "photo.png")
    assert picture.colour.shape == (5, 4, channels)
    assert picture.alpha is not None
    assert [*zip(*np.nonzero(picture.alpha[..., 0] == 0), strict=True)] == [(2, 3)]
    assert picture.alpha.max() == 65535


STRANGE = {
    "digit": exif_of(2, b"6\0"),
    "text": exif_of(2, b"upside down\0"),
    "zero": exif_of(3, b"\0\0"),
    "nine": exif_of(3, b"\x09\0"),
    "huge": exif_of(4, b"\xff" * 4),
    "damaged": b"Exif\0\0no TIFF at all",
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".16.png"])
def test_an_invalid_orientation_is_ignored(tmp_path: Path, suffix: str, kind: str) -> None:
    """The photo is read completely even if the orientation is text, out of range or damaged."""
    path = tmp_path / f"photo{suffix}"
    exif = STRANGE[kind]
    if suffix == ".16.png":
        pixels = np.arange(30 * 40 * 3, dtype=np.uint16).reshape(30, 40, 3)
        write_png16(path, pixels, (b"eXIf", exif.removeprefix(b"Exif\0\0")))
    else:
        smooth(size=(40, 30)).save(path, exif=exif)
    assert image_size(path) == (30, 40)
    picture = read_picture(path)
    assert picture.colour.shape == (30, 40, 3)
    if kind == "damaged":
        assert picture.exif is None
    else:
        assert picture.exif is not None
        assert b"Maker" in picture.exif
    assert to_tensor(open_image(path, "photo")).shape == decode(path.read_bytes(), "photo").shape == (3, 30, 40)
    kinds = {finding.kind for finding in check_file(Item("train", "photo", lambda: path)).findings}
    assert not kinds & {"unreadable", "orientation"}
