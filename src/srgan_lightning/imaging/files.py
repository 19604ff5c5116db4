"""Read image files, and write them atomically, keeping depth, alpha and metadata where the format allows."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srgan_lightning.imaging.picture import Picture, from_pil, to_pil
from srgan_lightning.imaging.png16 import is_png16, read_png16, write_png
from srgan_lightning.imaging.reading import MAX_PIXELS, opened
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.files import replacing


@dataclass(frozen=True)
class Format:
    """What a file format can hold.

    Args:
        name: PIL's name of the format.
        longest: maximum number of pixels per side.
        alpha: can have an alpha channel.
        grey16: can have 16 bits in grey.
        metadata: can have EXIF and a colour profile.
        copied: bytes per pixel that encoding needs in addition to the picture; 4 for PIL's copy of the picture.
        options: further arguments of PIL's `save`.
    """

    name: str
    longest: int = 2**31 - 1
    alpha: bool = False
    grey16: bool = False
    metadata: bool = True
    copied: int = 4
    options: dict[str, Any] = field(default_factory=dict)


PNG = Format("PNG", alpha=True, grey16=True, copied=0)
JPEG = Format("JPEG", longest=65500, options={"quality": 95, "subsampling": 0})
TIFF = Format("TIFF", alpha=True, grey16=True, options={"compression": "tiff_deflate"})
FORMATS = {
    ".png": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".webp": Format("WEBP", longest=16383, alpha=True, copied=12, options={"quality": 95}),
    ".tif": TIFF,
    ".tiff": TIFF,
    ".bmp": Format("BMP", metadata=False),
    ".ppm": Format("PPM", metadata=False),
}


class TooManyPixelsError(UserError):
    """A readable image with more pixels than allowed."""


def read_picture(path: Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a file.

    Args:
        path: the file.
        max_pixels: maximum number of pixels, at most `MAX_PIXELS`; a larger image is not decoded.

    Raises:
        UserError: the file is not an image, is truncated, has more than `MAX_PIXELS`, or cannot become RGB.
        TooManyPixelsError: the image has more than `max_pixels`, but not more than `MAX_PIXELS`.
    """
    with opened(path, "it") as image:
        if image.width * image.height > max_pixels:
            raise TooManyPixelsError(
                f"it has {image.width}x{image.height} pixels, more than the {max_pixels:,} allowed: shrink or crop it."
            )
        if is_png16(path):
            return read_png16(path, image)
        picture = from_pil(image)
        bits = getattr(image, "tag_v2", {}).get(258, (8,))  # BitsPerSample of a TIFF
    if picture.colour.dtype == np.uint8 and max(bits) > 8:
        picture.notes.append(f"{max(bits)}-bit colour in TIFF is read as 8-bit")
    return picture


def check_writable(path: Path, height: int, width: int) -> None:
    """Raise UserError if the format of `path` cannot hold an image of that size."""
    form = FORMATS[path.suffix.lower()]
    if max(height, width) > form.longest:
        raise UserError(
            f"its result has {width}x{height} pixels; {form.name} allows at most {form.longest} per side: use "
            "PNG, with --format png or a name for -o that ends in .png."
        )


def write_picture(path: Path, picture: Picture) -> None:
    """Encode a picture in the format of the suffix of `path`; the file appears whole or not at all.

    Parts that the format cannot store are dropped, with a note in `picture.notes`.

    Raises:
        UserError: the file cannot be written.
    """
    form = FORMATS[path.suffix.lower()]
    _fit(picture, form)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, partial_name(path)) as file:
            if form is PNG:
                write_png(file, picture)
            else:
                options = dict(form.options)
                if picture.exif:
                    options["exif"] = picture.exif
                    options.pop("compression", None)  # libtiff's compressors fail if EXIF tags are nested
                to_pil(picture).save(file, form.name, icc_profile=picture.icc, **options)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        raise UserError(f"{path} cannot be written: {reason}.") from error


def partial_name(path: Path) -> str:
    """Return the name of a file while it is written.

    The name depends only on the name of the final file, so that a resumed run replaces the partial file of a killed
    run. Its length is fixed, because the name of the final file may already be as long as the file system allows.
    """
    return f".{hashlib.sha256(path.name.encode(errors='surrogateescape')).hexdigest()[:16]}.partial"


def _fit(picture: Picture, form: Format) -> None:
    """Drop the parts of a picture that a format cannot store, in place."""
    if picture.alpha is not None and not form.alpha:
        picture.alpha = None
        picture.notes.append(f"its alpha channel is left out: {form.name} cannot store one")
    whole = form is PNG or (form.grey16 and picture.stacked().shape[2] == 1)
    if picture.colour.dtype == np.uint16 and not whole:
        picture.to_8_bits()
        picture.notes.append(f"its 16 bits are rounded to 8 for {form.name}")
    if (picture.icc or picture.exif) and not form.metadata:
        picture.icc = picture.exif = None
        picture.notes.append(f"its EXIF and colour profile are left out: {form.name} cannot store them")
