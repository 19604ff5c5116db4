"""Resize arrays of pixels by any factor, a strip of rows at a time, so that large photos take little memory."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan_lightning.imaging.picture import Picture, Pixels

STRIP = 256  # rows of the result per strip
Floats = NDArray[np.float32]


def resized_strips(pixels: NDArray[np.generic], size: tuple[int, int]) -> Iterator[tuple[slice, Floats]]:
    """Resize by antialiased bicubic interpolation (a = -0.5), like `imaging.ops.resize_bicubic`.

    Args:
        pixels: (H, W, C) numbers of any type.
        size: height and width of the result.

    Yields:
        A slice of rows of the result, and their values (rows, width, C) in float32, not clamped or rounded.
    """
    height, width = size
    ratio = pixels.shape[0] / height
    reach = 2 * max(ratio, 1.0)  # radius of the kernel, in rows of `pixels`
    for start in range(0, height, STRIP):
        stop = min(start + STRIP, height)
        first = max(math.floor(start * ratio - reach) - 1, 0)
        source = pixels[first : math.ceil(stop * ratio + reach) + 1].astype(np.float32)
        box = (0.0, start * ratio - first, float(pixels.shape[1]), stop * ratio - first)
        channels = [
            Image.fromarray(source[..., channel]).resize((width, stop - start), Image.Resampling.BICUBIC, box)
            for channel in range(source.shape[2])
        ]
        yield slice(start, stop), np.stack([np.asarray(channel) for channel in channels], axis=-1)


def resize_pixels(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize (H, W, C) to (*size, C) of the same dtype, rounded and clamped to its range."""
    result = np.empty((*size, pixels.shape[2]), pixels.dtype)
    for rows, strip in resized_strips(pixels, size):
        result[rows] = to_depth(strip, pixels.dtype)
    return result


def resize_picture(picture: Picture, size: tuple[int, int]) -> Picture:
    """Resize a picture and its alpha to a height and width."""
    alpha = None if picture.alpha is None else resize_pixels(picture.alpha, size)
    return Picture(resize_pixels(picture.colour, size), alpha, picture.icc, picture.exif, picture.notes)


def to_depth(values: Floats, dtype: np.dtype[np.generic]) -> Pixels:
    """Round to whole levels and clamp to the range of uint8 or uint16."""
    return np.rint(values).clip(0, np.iinfo(dtype).max).astype(dtype)  # type: ignore[type-var]
