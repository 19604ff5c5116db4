"""Read images safely, and define the protocol of image sources."""

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from srgan_lightning.utils.errors import UserError, printable

try:  # `decode_jpeg` is deprecated since torchvision 0.29; once it is removed, PIL decodes everything
    from torchvision.io import decode_jpeg
except ImportError:
    decode_jpeg = None

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}
#: The only formats that PIL may decode. PIL chooses a decoder by the file's content, not by its name. Some decoders are
#: risky and not needed here, such as EPS, which starts another program (Ghostscript). MPO files, which some cameras
#: write, are read as JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "AVIF")
MAX_PIXELS = 89_478_485  # PIL's own threshold for decompression bombs: 256 MB of RGB

#: How images that are not 8-bit RGB are converted, by PIL's mode.
CONVERSIONS = {
    "L": "greyscale, read as RGB of equal channels",
    "1": "black and white, read as RGB of equal channels",
    "LA": "greyscale with alpha, which is left out",
    "RGBA": "its alpha is left out",
    "P": "palette, read as RGB",
    "PA": "palette, read as RGB; its alpha is left out",
    "CMYK": "CMYK, converted to RGB without its profile",
    "I": "16 bits, rounded to 8",
    "I;16": "16 bits, rounded to 8",
    "I;16B": "16 bits, rounded to 8",
    "F": "floating point, clipped to 0..255",
}
ORIENTATION = 0x0112  # the EXIF tag
Size = tuple[int, int]
"""Height and width in pixels."""


class ImageSource(Protocol):
    """A numbered collection of HR images."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return a short name by which a person finds the image."""
        ...

    def read(self, index: int) -> Tensor:
        """Return the image as uint8 RGB (3, H, W)."""
        ...

    def files(self) -> Sequence[Path]:
        """Return the files from which the images are read, if any."""
        ...

    def describe(self) -> str:
        """Describe what `read` does to the files: the class and its arguments, without paths."""
        ...


class EncodedSource(ImageSource, Protocol):
    """A source of image files."""

    def encoded(self, index: int) -> bytes:
        """Return the file's content."""
        ...


def to_tensor(image: Image.Image) -> Tensor:
    """Convert a PIL image of any mode that PIL converts to RGB to uint8 RGB (3, H, W); 16 bits are rounded to 8."""
    if image.mode.startswith("I"):  # PIL would clip values above 255
        image = Image.fromarray(np.round(np.asarray(image, dtype=np.float64) / 257).clip(0, 255).astype(np.uint8))
    pixels = np.array(image.convert("RGB"))  # a copy: PIL's own buffer is read-only
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


@contextmanager
def opened(file: str | Path | IO[bytes], name: str) -> Iterator[Image.Image]:
    """Open an image file and read its header. All images are opened here, with the safety checks.

    Args:
        file: a path or a binary file.
        name: its name in error messages.

    Raises:
        UserError: the image has more than `MAX_PIXELS`, is in none of `FORMATS`, or is damaged. If only its pixels are
            damaged, decoding them inside the `with` raises the error.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # raised as an error below
            with Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                yield image
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{name} has more pixels than the maximum of {MAX_PIXELS:,}, and may be a decompression bomb: crop it or "
            "remove it."
        ) from error
    except UserError:
        raise
    except UnidentifiedImageError as error:
        known = f"its format is unknown; supported are {', '.join(FORMATS)}"
        reason = known if _has_content(file) else "it is empty"
        raise UserError(f"{name} cannot be read as an image: {reason}. Remove or replace it.") from error
    except Exception as error:  # decoders raise many types for damaged data
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name} cannot be read as an image: {reason}. Remove or replace the file.") from error


def _has_content(file: str | Path | IO[bytes]) -> bool:
    if isinstance(file, str | Path):
        return Path(file).stat().st_size > 0
    return file.seek(0, io.SEEK_END) > 0


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 (upright) if it is missing or invalid, such as text."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # PIL raises many types for damaged EXIF; the pixels may be intact
        return 1
    return int(value) if value in range(1, 9) else 1


def upright(image: Image.Image) -> Image.Image:
    """Turn an image upright by its EXIF orientation; return the same object if it is upright already."""
    return image if orientation(image) == 1 else ImageOps.exif_transpose(image)


def open_image(file: str | Path | IO[bytes], name: str) -> Image.Image:
    """Decode an image, upright by its EXIF orientation, in a mode that `to_tensor` accepts.

    Args:
        file: a path or a binary file.
        name: its name in error messages.

    Raises:
        UserError: it is not an image, is truncated, or is larger than `MAX_PIXELS`.
    """
    with opened(file, name) as image:
        image.load()
        turned = upright(image)
        # Converted here, where an error names the file: some modes, such as LAB, cannot become RGB.
        return turned if turned.mode in CONVERSIONS else turned.convert("RGB")


def decode(data: bytes, name: str) -> Tensor:
    """Decode an encoded image, upright by its EXIF orientation, to uint8 RGB (3, H, W).

    torchvision decodes plain JPEG to the same pixels as PIL in half the time, with fewer copies. PIL reads the header
    first, and decodes everything that is unusual or damaged.

    Args:
        data: the file's content.
        name: its name in error messages.

    Raises:
        UserError: it is not an image, is truncated, or is larger than `MAX_PIXELS`.
    """
    with opened(io.BytesIO(data), name) as image:
        plain = image.format == "JPEG" and image.mode in ("RGB", "L") and orientation(image) == 1
    if plain and decode_jpeg is not None:
        with suppress(RuntimeError):  # PIL may still read the file, or has a clearer message
            pixels: Tensor = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), "RGB")
            return pixels
    return to_tensor(open_image(io.BytesIO(data), name))


def read_bytes(path: Path) -> bytes:
    """Return a file's content; raise UserError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Remove or replace the file.") from error


def no_such_folder(folder: str | Path, setting: str, otherwise: str = "") -> UserError:
    """Return the error for a missing folder; `otherwise` says what to do without one."""
    return UserError(
        f"{setting}={folder}: no such folder (looked in {Path(folder).absolute()}). Point {setting} at a folder of "
        f"photos.{otherwise}"
    )


def files_below(folder: str | Path) -> list[Path]:
    """Return all files below a folder, sorted; links to folders are followed.

    Each folder is entered once, so circular links are harmless. A folder's own path is preferred to a path through a
    link. Unreadable folders are left out with a warning.
    """
    found: list[Path] = []
    entered: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        links: list[str] = []
        for top in waiting:
            for parent, folders, files in os.walk(top, onerror=_warn_left_out):
                status = os.stat(parent)
                if (status.st_dev, status.st_ino) in entered:
                    folders.clear()
                    continue
                entered.add((status.st_dev, status.st_ino))
                links += (path for name in folders if os.path.islink(path := os.path.join(parent, name)))
                paths = (os.path.join(parent, name) for name in files)
                found += (Path(path) for path in paths if os.path.isfile(path))  # leaves out pipes and devices
        waiting = sorted(links)
    return sorted(found)


def _warn_left_out(error: OSError) -> None:
    warnings.warn(printable(f"{error.filename} cannot be read and is left out: {error.strerror}"), stacklevel=2)


def find_images(folder: str | Path, setting: str) -> list[Path]:
    """Return all image files below a folder, sorted.

    Args:
        folder: searched recursively, following links to folders.
        setting: the option that named the folder, for error messages.

    Raises:
        UserError: the folder does not exist, or has no image.
    """
    root = Path(folder)
    if not root.is_dir():
        raise no_such_folder(folder, setting)
    found = [path for path in files_below(root) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise UserError(
            f"{setting}={folder}: no image files ({', '.join(sorted(SUFFIXES))}) in {root.absolute()} or below."
        )
    return found


def image_size(path: Path) -> Size:
    """Return the size of an image as it will be decoded, reading only its header.

    Raises:
        UserError: it is not an image, or is larger than `MAX_PIXELS`.
    """
    with opened(path, str(path)) as image:
        width, height = image.size
        sideways = orientation(image) >= 5  # these orientations swap width and height
    return (width, height) if sideways else (height, width)
