"""JPEG compression of a batch, with libjpeg on the CPU and the same arithmetic in torch on other devices.

On a CPU, a loop over libjpeg is twice as fast as tensor operations. A GPU would have to wait for a copy to the CPU and
one back, so it computes the same steps in float32. The mean difference from libjpeg is at most 1.5 levels of 255. On
photos it is a third of a level.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import jpeg as jpeg_file

from srgan_lightning.imaging.resampling import full_size, repeat_border

# Tables K.1 and K.2 of ITU-T T.81.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
#: Matrices from RGB to JFIF's YCbCr, and back.
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
TO_RGB = ((1, 0, 1.402), (1, -0.344136286, -0.714136286), (1, 1.772, 0))
MIDDLE = 128  # middle of the 8-bit range, which JPEG subtracts before the cosine transform


def jpeg_compress(images: Tensor, quality: Tensor, size: Tensor | None = None) -> Tensor:
    """Compress each image with its own quality and halved chroma (4:2:0), and decompress it.

    Args:
        images: (B, 3, H, W) in [0, 1]; compressed images are rounded to 8 bits.
        quality: (B,) 1 to 100, rounded down; an image with a quality below 1 stays unchanged.
        size: (B, 2) heights and widths of the images on the canvas (see `imaging.resampling`); None for H and W.

    Returns:
        (B, 3, H, W). Compressed images are multiples of 1/255. Beyond an image's size, its border pixels are repeated.
    """
    if images.device.type == "cpu":
        return by_libjpeg(images, quality, size)
    return by_arithmetic(images, quality, size)


def by_libjpeg(images: Tensor, quality: Tensor, size: Tensor | None = None) -> Tensor:
    """Compute `jpeg_compress` with libjpeg, one file per image."""
    results = list(images)
    sizes = [images.shape[-2:]] * len(images) if size is None else size.tolist()
    for number, ((height, width), q) in enumerate(zip(sizes, quality.tolist(), strict=True)):
        if q >= 1:
            pixels = images[number, :, :height, :width].mul(255).round().to(torch.uint8)
            results[number] = jpeg_file(pixels.contiguous(), int(q)).to(images) / 255
            if results[number].shape != images.shape[1:]:
                beyond = (0, images.shape[-1] - width, 0, images.shape[-2] - height)
                results[number] = F.pad(results[number], beyond, mode="replicate")
    return torch.stack(results)


def by_arithmetic(images: Tensor, quality: Tensor, size: Tensor | None = None) -> Tensor:
    """Compute `jpeg_compress` with the same tensor operations on every device; no value is read back from it."""
    size = full_size(images) if size is None else size
    height, width = images.shape[-2:]
    padded = F.pad(images.contiguous(), (0, -width % 16, 0, -height % 16), mode="replicate").mul(255).round()
    ycc = torch.einsum("oc,bchw->bohw", padded.new_tensor(TO_YCC), padded).round()  # chroma is centred at zero
    luma, chroma = ycc[:, :1], ycc[:, 1:]
    # Average four pixels; libjpeg rounds halves down and up alternately.
    bias = torch.tensor([0.25, 0.5], device=images.device).repeat(chroma.shape[-1] // 4)
    chroma = (F.avg_pool2d(chroma, 2) + bias).floor()
    strength = quality.floor().clamp(min=1)[:, None, None]
    strength = torch.where(strength < 50, (5000 / strength).floor(), 200 - 2 * strength)
    luma = _through_blocks(luma - MIDDLE, LUMINANCE, strength) + MIDDLE
    chroma = repeat_border(_through_blocks(chroma, CHROMINANCE, strength), (size + 1) // 2)
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear").round()  # libjpeg's "fancy" upsampling
    ycc = torch.cat([luma, chroma], dim=1)
    rgb = torch.einsum("oc,bchw->bohw", ycc.new_tensor(TO_RGB), ycc).round().clamp(0, 255)
    rgb = repeat_border(rgb[..., :height, :width], size) / 255
    return torch.where((quality >= 1)[:, None, None, None], rgb, images)


def _through_blocks(planes: Tensor, table: tuple[tuple[int, ...], ...], strength: Tensor) -> Tensor:
    """Quantise the cosine transform of each 8x8 block, and transform it back.

    Args:
        planes: (B, C, H, W) centred at zero, H and W multiples of 8.
        table: quantisation table of quality 50.
        strength: (B, 1, 1) factor for the table in percent.

    Returns:
        (B, C, H, W), whole numbers from -128 to 127.
    """
    batch, channels, height, width = planes.shape
    quantum = ((planes.new_tensor(table).view(1, 1, 64) * strength + 50) / 100).floor().clamp(1, 255)
    blocks = planes.view(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4).reshape(batch, -1, 64)
    basis = _cosines().to(planes)
    blocks = (blocks @ basis.T) / quantum
    # Round to the nearest whole number, halves away from zero.
    blocks = torch.trunc(blocks + torch.copysign(blocks.new_tensor(0.5), blocks)).mul_(quantum) @ basis
    blocks = blocks.round_().clamp_(-MIDDLE, MIDDLE - 1)
    blocks = blocks.view(batch, channels, height // 8, width // 8, 8, 8).transpose(3, 4)
    return blocks.reshape(batch, channels, height, width)


def _cosines() -> Tensor:
    """Return the matrix (64, 64) of the orthonormal cosine transform of a flattened block."""
    k = torch.arange(8, dtype=torch.float64)
    one = torch.cos((2 * k[None, :] + 1) * k[:, None] * (math.pi / 16)) / 2
    one[0] /= math.sqrt(2)
    return torch.kron(one, one)
