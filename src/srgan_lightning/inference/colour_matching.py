"""Give SR the colours of LR, because a GAN may tint whole areas."""

import numpy as np

from srgan_lightning.imaging.picture import Pixels
from srgan_lightning.imaging.resizing import STRIP, Floats, resized_strips, to_depth

#: Dilation of each wavelet level in LR pixels. At x4, these levels give nearly the same low frequencies as the five
#: levels of StableSR in SR pixels.
DILATIONS = (1, 2, 4)


def match_colours(sr: Pixels, lr: Pixels) -> None:
    """Replace the low frequencies of SR by those of LR, in place; at x4, detail finer than about 13 SR pixels stays.

    This is the wavelet colour fix of StableSR (Wang et al. 2023, section 3.4). Here SR is first downsampled to the size
    of LR by antialiased bicubic, and the low frequencies are computed there. This is much faster and needs no second
    large image.

    Args:
        sr: (scale * H, scale * W, C), uint8 or uint16.
        lr: (H, W, C) of the same dtype.
    """
    small = np.concatenate([strip for _, strip in resized_strips(sr, (lr.shape[0], lr.shape[1]))])
    correction = low_frequencies(lr.astype(np.float32) - small)
    for rows, strip in resized_strips(correction, (sr.shape[0], sr.shape[1])):
        sr[rows] = to_depth(sr[rows] + strip, sr.dtype)


def matching_memory(height: int, width: int, channels: int, scale: int) -> int:
    """Return an upper bound, in bytes, of the memory that `match_colours` takes besides SR and LR.

    Args:
        height: height of LR in pixels.
        width: width of LR in pixels.
        channels: number of colour channels.
        scale: size of SR divided by that of LR.
    """
    small = 4 * channels * height * width  # an array of LR's size in float32
    padded = 4 * channels * (height + 2 * DILATIONS[-1]) * (width + 2 * DILATIONS[-1])
    filtering = 8 * small + padded
    row = 4 * channels * scale * width  # of SR
    read = row * min(scale * height, scale * (STRIP + 4) + 3)  # rows of SR for a strip of LR, with the kernel's reach
    # The next strip is read before the last one is freed. PIL needs two copies of a channel.
    downsampling = 3 * small + max(2 * read if height > STRIP else read, read + 2 * read // channels)
    upsampling = 4 * small + 5 * row * min(scale * height, STRIP)  # a strip as PIL's images, and four arrays
    return max(filtering, downsampling, upsampling)


def low_frequencies(pixels: Floats) -> Floats:
    """Return the low frequencies of pixels (H, W, C), by an à-trous wavelet transform with kernel (1/4, 1/2, 1/4)."""
    for dilation in DILATIONS:
        for axis in (0, 1):
            sides = [(dilation, dilation) if side == axis else (0, 0) for side in range(3)]
            padded = np.pad(pixels, sides, mode="edge")
            length = pixels.shape[axis]
            before, middle, after = (
                padded.take(np.arange(start, start + length), axis) for start in (0, dilation, 2 * dilation)
            )
            pixels = ((before + after) / 4 + middle / 2).astype(np.float32)
    return pixels
