"""Small image files of every kind, and ways to damage them."""

import io
import os
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import png
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.pictures import SRGB, smooth, write_png16


@cache
def images() -> dict[str, bytes]:
    """Write small files of all formats and many kinds."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    files: dict[str, bytes] = {}

    def keep(name: str, mode: str = "RGB", **options: Any) -> None:
        buffer = io.BytesIO()
        smooth(mode).save(buffer, Image.registered_extensions()["." + name.rsplit(".")[-1]], **options)
        files[name] = buffer.getvalue()

    keep("rich.jpg", exif=exif.tobytes(), icc_profile=SRGB)
    keep("progressive.jpg", progressive=True)
    keep("ink.jpg", "CMYK", icc_profile=SRGB)
    keep("rich.png", "RGBA", exif=exif.tobytes(), icc_profile=SRGB)
    keep("palette.png", "P", transparency=3)
    keep("bits.png", "1")
    keep("deep.png", "I;16")
    keep("plain.webp", exif=exif.tobytes())
    keep("lossless.webp", "RGBA", lossless=True)
    keep("moving.webp", save_all=True, append_images=[smooth()])
    keep("plain.tif", exif=exif.tobytes())
    for compression in ("tiff_deflate", "tiff_lzw", "jpeg", "packbits", "group4"):
        keep(f"{compression}.tif", "1" if compression == "group4" else "RGB", compression=compression)
    keep("float.tif", "F")
    keep("plain.bmp")
    keep("palette.bmp", "P")
    keep("plain.ppm")
    return files


@cache
def deep_pngs() -> dict[str, bytes]:
    """Return 16-bit PNGs by another writer, interlaced and not."""
    files: dict[str, bytes] = {}
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    for channels in (1, 2, 3, 4):
        path = folder / f"srgan_fuzz_{os.getpid()}.png"
        write_png16(path, np.arange(5 * 7 * channels, dtype=np.uint16).reshape(5, 7, channels) * 400)
        files[f"deep{channels}.png"] = path.read_bytes()
        path.unlink()
    buffer = io.BytesIO()
    writer = png.Writer(9, 9, greyscale=False, bitdepth=16, interlace=True)
    writer.write(buffer, (np.arange(243) * 99).reshape(9, 27).tolist())
    return files | {"interlaced.png": buffer.getvalue()}


#: Position (as a share of the file), and the bytes written there.
changes = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.one_of(
            st.binary(min_size=1, max_size=4),
            st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\1"]),
        ),
        st.sampled_from(["replace", "insert", "remove", "repeat"]),
    ),
    min_size=1,
    max_size=6,
)
cuts = st.one_of(st.just(1.0), st.just(1.0), st.floats(0, 1))


def changed(content: bytes, mutations: list[tuple[float, bytes, str]], cut: float) -> bytes:
    result = bytearray(content)
    for share, piece, how in mutations:
        place = int(share * len(result))
        if how == "replace":
            result[place : place + len(piece)] = piece
        elif how == "insert":
            result[place:place] = piece
        elif how == "remove":
            del result[place : place + 7 * len(piece)]
        else:
            result[place:place] = result[place : place + 30 * len(piece)]
    return bytes(result[: int(cut * len(result))])


def with_checksums(content: bytes) -> bytes:
    """Return a PNG with correct checksums, so that damaged data pass the first check."""
    result, place = bytearray(content[:8]), 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        body = content[place + 4 : place + 8 + length]
        result += struct.pack(">I", max(len(body) - 4, 0)) + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return bytes(result)
