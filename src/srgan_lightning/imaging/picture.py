"""Decoded images as arrays of pixels, with their alpha, ICC profile and EXIF."""

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from srgan_lightning.imaging.reading import ORIENTATION, orientation, upright
from srgan_lightning.utils.errors import UserError

Pixels = NDArray[Any]  # (H, W, channels), uint8 or uint16

# Tags that are not copied with the EXIF: those about the storage of the pixels in the original file, such as sizes,
# orientation, strips, tiles and thumbnails, and embedded XMP, IPTC, Photoshop and ICC blocks.
STORAGE_TAGS = [*range(254, 260), 262, 266, *range(273, 275), *range(277, 282), 284, 317, 320, *range(322, 326)]
STORAGE_TAGS += [338, 339, 347, 513, 514, *range(529, 533), 700, 33723, 34377, 34675]
EXIF_IFD, EXIF_WIDTH, EXIF_HEIGHT = 0x8769, 0xA002, 0xA003


@dataclass
class Picture:
    """A decoded image, upright.

    Args:
        colour: (H, W, 1) grey or (H, W, 3) RGB, uint8 or uint16.
        alpha: (H, W, 1) of the same type, or None.
        icc: the colour profile, encoded as in files.
        exif: the EXIF block, encoded as in files, without orientation.
        notes: messages about parts of the original that could not be kept.
    """

    colour: Pixels
    alpha: Pixels | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return height, width and channels, including alpha."""
        height, width, channels = self.colour.shape
        return height, width, channels + (self.alpha is not None)

    def stacked(self, rows: slice = slice(None)) -> Pixels:
        """Return colour and alpha of some rows in one array, (H, W, 1 to 4)."""
        if self.alpha is None:
            return self.colour[rows]
        return np.concatenate([self.colour[rows], self.alpha[rows]], axis=2)

    def to_8_bits(self) -> None:
        """Round 16-bit pixels to 8 bits, in place."""
        if self.colour.dtype == np.uint16:
            self.colour = _round_to_8_bits(self.colour)
            self.alpha = None if self.alpha is None else _round_to_8_bits(self.alpha)


def split_alpha(pixels: Pixels) -> tuple[Pixels, Pixels | None]:
    """Split (H, W, 1 to 4) into colour and alpha."""
    return (pixels[..., :-1], pixels[..., -1:]) if pixels.shape[2] in (2, 4) else (pixels, None)


def from_pil(image: Image.Image) -> Picture:
    """Convert a PIL image of any mode, and turn it upright by its EXIF orientation.

    Of several frames, only the first is converted.

    Raises:
        UserError: the mode has no fixed range (F), or PIL cannot convert it to RGB (LAB).
    """
    notes = ["only its first frame is upscaled"] if getattr(image, "n_frames", 1) > 1 else []
    icc, exif = image.info.get("icc_profile"), _photo_exif(image, notes)
    image = upright(image)
    if image.mode == "I" or image.mode.startswith("I;16"):  # PIL reads 16-bit PGM files as 32 bits
        grey = np.array(image).clip(0, 65535).astype(np.uint16)
        return Picture(grey[..., None], None, icc, exif, notes)
    if image.mode == "CMYK":
        notes.append("CMYK is converted to RGB")
        image, icc = _cmyk_to_rgb(image, icc), None  # the profile described CMYK, not RGB
    grey_modes = image.mode in ("1", "L", "LA", "La")
    mode = ("L" if grey_modes else "RGB") + ("A" if image.has_transparency_data else "")
    if image.mode != mode:
        try:
            if image.mode == "F":
                raise ValueError("floating-point pixels have no fixed range")
            image = image.convert(mode)
        except ValueError as error:
            raise UserError(
                f"Images of mode {image.mode} cannot be upscaled: {error}. Convert to RGB first."
            ) from error
    pixels = np.array(image)
    colour, alpha = split_alpha(pixels[..., None] if pixels.ndim == 2 else pixels)
    return Picture(colour, alpha, icc, exif, notes)


def to_pil(picture: Picture) -> Image.Image:
    """Convert to a PIL image of mode L, LA, RGB, RGBA or I;16, with profile and EXIF in its `info`.

    PIL has no mode for 16 bits in colour or with alpha: call `Picture.to_8_bits` first.
    """
    pixels = picture.stacked()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if picture.icc:
        image.info["icc_profile"] = picture.icc
    if picture.exif:
        image.info["exif"] = picture.exif
    return image


def _photo_exif(image: Image.Image, notes: list[str]) -> bytes | None:
    exif = Image.Exif()
    try:
        own = image.getexif()
        if orientation(image) == 1:
            own.pop(ORIENTATION, None)  # PIL cannot write an orientation that is text
        exif.load(own.tobytes())  # a copy: the image's own EXIF must keep its orientation
        for tag in STORAGE_TAGS:
            exif.pop(tag, None)
        if EXIF_IFD in exif:
            for tag in (EXIF_WIDTH, EXIF_HEIGHT):  # these tags hold the size before upscaling
                exif.get_ifd(EXIF_IFD).pop(tag, None)
        return exif.tobytes() if len(exif) else None
    except Exception:  # PIL raises many types for damaged EXIF; the pixels may be intact
        notes.append("its EXIF is damaged and is left out")
        return None


def _cmyk_to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    if icc:
        try:
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, io.BytesIO(icc), srgb, outputMode="RGB")
            assert converted is not None, "only a conversion in place returns None"
            return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # the profile is damaged or not for CMYK, so PIL's plain formula is used
    return image.convert("RGB")


def _round_to_8_bits(pixels: Pixels) -> Pixels:
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
