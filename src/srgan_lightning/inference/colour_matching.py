"""Give SR the colours of LR, because a GAN may tint whole areas."""

import numpy as np

from srgan_lightning.imaging.picture import Pixels
from srgan_lightning.imaging.resizing import Floats, resized_strips, to_depth

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
