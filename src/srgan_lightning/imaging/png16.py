"""Read 16-bit PNG files, whose colours PIL cuts to 8 bits, and write PNG without a second copy of the pixels."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import png
from PIL import Image

from srgan_lightning.imaging.picture import Picture, Pixels, from_pil, split_alpha
from srgan_lightning.imaging.reading import orientation

STRIP = 64  # rows compressed at a time
#: Compression level of zlib. For upscaled photos it is 3 to 4 times as fast as the default of 6; files are 4% larger.
LEVEL = 4
PIECE = 2**20  # bytes decompressed at a time


def is_png16(path: Path) -> bool:
    """Check whether a file starts with the header of a 16-bit PNG."""
    with path.open("rb") as file:
        start = file.read(25)
    return len(start) == 25 and start[:8] == b"\x89PNG\r\n\x1a\n" and start[12:16] == b"IHDR" and start[24] == 16


def read_png16(path: Path, image: Image.Image) -> Picture:
    """Decode a 16-bit PNG file without loss of bits.

    Args:
        path: the file.
        image: the same file opened by PIL, for its profile, EXIF and orientation.
    """
    _check_length(path, image.width * image.height)
    with path.open("rb") as file:
        width, height, rows, info = png.Reader(file).read()
        if (width, height) != image.size:
            raise ValueError("it has two headers")
        pixels = np.empty((height, width, info["planes"]), np.uint16)
        for target, row in zip(pixels, rows, strict=True):
            target[...] = np.asarray(row, np.uint16).reshape(target.shape)
    if "transparent" in info:  # the colour of transparent pixels, from the chunk tRNS
        opaque = (pixels != np.asarray(info["transparent"], np.uint16)).any(axis=2, keepdims=True)
        pixels = np.concatenate([pixels, opaque * np.uint16(65535)], axis=2)
    picture = from_pil(image)
    picture.colour, picture.alpha = split_alpha(_upright(pixels, orientation(image)))
    return picture


def _check_length(path: Path, count: int) -> None:
    """Raise ValueError if the data decompress to much more than `count` pixels.

    Without this check, pypng would decompress all of them.
    """
    # 12 bytes per pixel are enough for four channels of 16 bits and the filter bytes, of which interlaced files have
    # most: 15 / 8 per row.
    left = 12 * count + 2**10
    with path.open("rb") as file:
        chunks = png.Reader(file).chunks()
        decompressor = zlib.decompressobj()
        for kind, data in chunks:
            while kind == b"IDAT" and data and not decompressor.eof:
                left -= len(decompressor.decompress(data, PIECE))
                data = decompressor.unconsumed_tail
                if left < 0:
                    raise ValueError("it holds more pixels than its header says, and may be a decompression bomb")


def write_png(file: IO[bytes], picture: Picture) -> None:
    """Encode a picture of 8 or 16 bits with its profile and EXIF, a strip of rows at a time.

    All rows use the filter Up. For upscaled photos, files are 10% smaller than with PIL's choice of filters, and
    writing takes two thirds of the time.
    """
    height, width, channels = picture.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    bits = 8 * picture.colour.itemsize
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))]
    if picture.icc:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.icc)))
    if picture.exif:
        chunks.append((b"eXIf", picture.exif.removeprefix(b"Exif\0\0")))
    png.write_chunks(file, chunks)
    for data in _compressed(picture):
        if data:
            png.write_chunk(file, b"IDAT", data)
    png.write_chunk(file, b"IEND")


def _compressed(picture: Picture) -> Iterator[bytes]:
    """Yield zlib data of the rows, each coded as the difference from the row above (filter type 2, Up)."""
    height, width, channels = picture.shape
    compressor = zlib.compressobj(LEVEL)
    above = np.zeros((1, width * channels * picture.colour.itemsize), np.uint8)
    for start in range(0, height, STRIP):
        strip = picture.stacked(slice(start, start + STRIP))
        strip = strip.astype(strip.dtype.newbyteorder(">"))  # PNG is big-endian
        rows = strip.reshape(len(strip), -1).view(np.uint8)
        differences = rows - np.concatenate([above, rows[:-1]])  # modulo 256, as PNG requires
        yield compressor.compress(np.pad(differences, ((0, 0), (1, 0)), constant_values=2).tobytes())
        above = rows[-1:]
    yield compressor.flush()


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation to (H, W, C)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
