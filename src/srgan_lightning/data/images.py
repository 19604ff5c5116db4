"""Reading images, and the protocol every source of them follows."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from srgan_lightning.errors import UserError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}


class ImageSource(Protocol):
    """A numbered collection of HR images."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """A short name that a person finds the image by."""
        ...

    def read(self, index: int) -> Tensor:
        """The image, uint8 RGB (3, H, W)."""
        ...

    def files(self) -> Sequence[Path]:
        """The files that the images are read from, if any."""
        ...

    def describe(self) -> str:
        """What `read` does to them: the class and its arguments, without paths."""
        ...


def to_tensor(image: Image.Image) -> Tensor:
    """PIL image of any mode to uint8 RGB (3, H, W); 16 bits are rounded to 8."""
    if image.mode.startswith("I"):  # PIL would cut values above 255 off
        image = Image.fromarray(np.round(np.asarray(image, dtype=np.float64) / 257).clip(0, 255).astype(np.uint8))
    pixels = np.array(image.convert("RGB"))  # a copy: PIL's own buffer is read-only
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def open_image(file: str | Path | IO[bytes], name: str) -> Image.Image:
    """Decode a whole image, upright by its EXIF orientation.

    Args:
        file: a path or a binary file.
        name: what an error calls it.

    Raises:
        UserError: it is no image, or is cut short.
    """
    try:
        with Image.open(file) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{name} cannot be read as an image: {error}. Remove or replace the file.") from error


def find_images(folder: str | Path, setting: str) -> list[Path]:
    """All image files below a folder, sorted.

    Args:
        folder: searched recursively.
        setting: the option that named it, for the error.

    Raises:
        UserError: there is no such folder, or no image in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(
            f"{setting}={folder}: no such folder (looked in {root.absolute()}). Point {setting} at a folder of photos, "
            "or use experiment=quickstart, which draws its own faces and needs no data."
        )
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise UserError(
            f"{setting}={folder}: no image files ({', '.join(sorted(SUFFIXES))}) in {root.absolute()} or below."
        )
    return found


def image_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """(height, width) of each file as it will be decoded; reads the headers alone."""
    sizes: list[tuple[int, int]] = []
    for path in paths:
        try:
            with Image.open(path) as image:
                width, height = image.size
                sideways = image.getexif().get(0x0112, 1) >= 5  # the EXIF orientations that swap width and height
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"{path} cannot be read as an image: {error}. Remove or replace the file.") from error
        sizes.append((width, height) if sideways else (height, width))
    return sizes
