"""Pictures of every kind, and a shorthand for the command, for the tests of `upscale`."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import png
from PIL import Image, ImageCms

from srgan_lightning.imaging.picture import Pixels
from srgan_lightning.upscale import main
from tests.helpers.generators import tiny_generator

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GENERATOR = tiny_generator(global_skip="bicubic")
GENERATOR.tail.weight.data *= 0.2  # the result still resembles its input


def smooth(mode: str = "RGB", size: tuple[int, int] = (23, 17)) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (4, 4, 4), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    return image.convert(mode) if mode in ("RGBA", "LA") else image.convert("RGB").convert(mode)


def upscale(*arguments: object) -> int:
    return main([*map(str, arguments), "--device", "cpu"])


def write_png16(path: Path, pixels: Pixels, *extra: tuple[bytes, bytes]) -> None:
    """Write a 16-bit PNG of (H, W, 1 to 4) by another writer than the package's."""
    height, width, channels = pixels.shape
    buffer = io.BytesIO()
    writer = png.Writer(width, height, greyscale=channels < 3, alpha=channels in (2, 4), bitdepth=16)
    writer.write(buffer, pixels.reshape(height, -1).tolist())
    chunks = list(png.Reader(bytes=buffer.getvalue()).chunks())
    with path.open("wb") as file:
        png.write_chunks(file, [chunks[0], *extra, *chunks[1:]])


def read_png16(path: Path) -> Pixels:
    width, height, rows, info = png.Reader(filename=str(path)).read()
    assert info["bitdepth"] == 16
    return np.array([list(row) for row in rows], np.uint16).reshape(height, width, info["planes"])


def header_bomb() -> bytes:
    """Return a PNG of less than 100 bytes that claims 30,000x30,000 pixels."""
    buffer = io.BytesIO()
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    png.write_chunks(buffer, [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")])
    return buffer.getvalue()
