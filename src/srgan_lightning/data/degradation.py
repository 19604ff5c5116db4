"""Degrade HR to LR, in batches, on the device of the images.

A degradation is a pure function of the images and of one number per image, its `degradation_u` in [0, 1]. The same
number gives the same degradation on every device, in any batch and after any resume. Between devices, LR differs only
by rounding and by the JPEG implementation (see jpeg.py). The data sets provide the numbers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lightning.data.jpeg import jpeg_compress
from srgan_lightning.imaging.ops import resize_bicubic, round_to_8_bits
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.full_float32 import full_float32


class Bicubic(nn.Module):
    """Antialiased bicubic downsampling, rounded to 8 bits, optionally followed by JPEG compression.

    Args:
        scale: factor by which LR is smaller.
        jpeg: lowest and highest JPEG quality, 1 to 100; None for no JPEG. The quality is drawn uniformly and rounded
            down, so the highest occurs only if both are equal.
        jpeg_probability: share of the images that are compressed.

    Raises:
        UserError: a number is out of its range.
    """

    min_lr_side = 1
    #: Name of the degradation in tables of scores.
    label = "bicubic"

    def __init__(self, scale: int = 4, jpeg: tuple[int, int] | None = None, jpeg_probability: float = 1.0) -> None:
        super().__init__()
        # Not limited to the generators' scales, because bicubic upscaling can be scored at other scales too.
        if not isinstance(scale, int) or not 1 <= scale <= 64:
            raise UserError(f"scale={scale} is not possible: give a whole number from 1 to 64, such as 4.")
        if jpeg is not None and (len(jpeg) != 2 or not 1 <= jpeg[0] <= jpeg[1] <= 100):
            raise UserError(f"degradation.jpeg={jpeg}: give two qualities between 1 and 100, the lower first, or null.")
        if not 0 <= jpeg_probability <= 1:
            raise UserError(f"degradation.jpeg_probability={jpeg_probability}: give a share between 0 and 1.")
        self.scale = scale
        self.jpeg, self.jpeg_probability = jpeg, jpeg_probability

    def downsample(self, hr: Tensor) -> Tensor:
        """Downsample (B, 3, H, W) to (B, 3, H / scale, W / scale), not clamped.

        Raises:
            UserError: H or W is not a multiple of `scale`.
        """
        height, width = hr.shape[-2:]
        if height % self.scale or width % self.scale:
            raise UserError(
                f"HR of {width}x{height} pixels cannot be divided by scale={self.scale}: "
                f"set data.size or data.crop to multiples of {self.scale}."
            )
        return resize_bicubic(hr, (height // self.scale, width // self.scale))

    @full_float32()
    def forward(self, hr: Tensor, u: Tensor) -> Tensor:
        """Degrade HR to LR.

        Args:
            hr: (B, 3, H, W) in [0, 1], H and W multiples of `scale`.
            u: (B,) `degradation_u` of each image, in [0, 1].

        Returns:
            (B, 3, H / scale, W / scale) in [0, 1], multiples of 1/255.

        Raises:
            UserError: H or W is not a multiple of `scale`.
        """
        return self.quantize(self.downsample(hr), u)

    def quantize(self, lr: Tensor, u: Tensor) -> Tensor:
        """Round LR to 8 bits, as a file would, and compress it as JPEG if `jpeg` is set."""
        lr = round_to_8_bits(lr)
        return lr if self.jpeg is None else jpeg_compress(lr, self.quality_of(u))

    def quality_of(self, u: Tensor) -> Tensor:
        """Return the JPEG qualities (B,), to be rounded down; 0 for no compression."""
        if self.jpeg is None:
            return torch.zeros_like(u)
        u = (u * 4096) % 1  # the lower bits of u, because the upper ones select the blur
        low, high = self.jpeg
        quality = low + (high - low) * u / max(self.jpeg_probability, 1e-9)
        return torch.where(u < self.jpeg_probability, quality, 0)

    def describe(self, u: Tensor) -> list[str]:
        """Describe the degradation of each image in words, from its `degradation_u` (B,)."""
        return [f"bicubic; JPEG {int(q)}" if q >= 1 else "bicubic" for q in self.quality_of(u).tolist()]


class Blur(Bicubic):
    """Bicubic downsampling, then a Gaussian blur of LR with a random sigma per image.

    This is the degradation of experiment=celeba_blur.

    Args:
        scale: factor by which LR is smaller.
        kernel: side of the Gaussian kernel in LR pixels, odd.
        sigma: lowest and highest standard deviation in LR pixels, drawn uniformly.
        probability: share of the images that are blurred; the others are plain bicubic.
        jpeg: see `Bicubic`; applied after the blur.
        jpeg_probability: see `Bicubic`.

    Raises:
        UserError: a number is out of its range.
    """

    label = "blur"

    def __init__(
        self,
        scale: int = 4,
        kernel: int = 25,
        sigma: tuple[float, float] = (0.1, 2.0),
        probability: float = 1.0,
        jpeg: tuple[int, int] | None = None,
        jpeg_probability: float = 1.0,
    ) -> None:
        super().__init__(scale, jpeg, jpeg_probability)
        if kernel < 1 or kernel % 2 == 0:
            raise UserError(f"degradation.kernel={kernel}: give an odd number from 1 up.")
        if len(sigma) != 2 or not 0 < sigma[0] <= sigma[1]:
            raise UserError(f"degradation.sigma={sigma}: give two positive numbers, the lower first.")
        if not 0 <= probability <= 1:
            raise UserError(f"degradation.probability={probability}: give a share between 0 and 1.")
        self.radius = kernel // 2
        self.min_lr_side = self.radius + 1  # for reflection at the border
        self.sigma = sigma
        self.probability = probability

    @full_float32()
    def forward(self, hr: Tensor, u: Tensor) -> Tensor:
        """Degrade HR to LR; see `Bicubic.forward`.

        Images with u below `probability` are blurred. Their sigma follows from u.

        Raises:
            UserError: H or W is not a multiple of `scale`, or a side of LR has fewer than `min_lr_side` pixels.
        """
        lr = self.downsample(hr).clamp(0, 1)
        blurred = gaussian_blur(lr, self.sigma_of(u), self.radius)
        return self.quantize(torch.where((u < self.probability)[:, None, None, None], blurred, lr), u)

    def sigma_of(self, u: Tensor) -> Tensor:
        """Return the standard deviations (B,) of the blur, valid where u is below `probability`."""
        low, high = self.sigma
        return (low + (high - low) * u / max(self.probability, 1e-9)).clamp(max=high)

    def describe(self, u: Tensor) -> list[str]:
        """Describe the degradation of each image in words, from its `degradation_u` (B,)."""
        blurred = zip(super().describe(u), u.tolist(), self.sigma_of(u).tolist(), strict=True)
        return [f"{text}; blur {sigma:.1f}" if u < self.probability else text for text, u, sigma in blurred]


def gaussian_blur(image: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur each image with its own Gaussian; torchvision's `gaussian_blur` has one sigma for the whole batch.

    Args:
        image: (B, C, H, W), H and W above `radius`; the border is reflected.
        sigma: (B,) standard deviations in pixels.
        radius: the kernel is 2 * radius + 1 pixels wide.

    Raises:
        UserError: H or W is not above `radius`.
    """
    batch, channels, height, width = image.shape
    if min(height, width) <= radius:
        raise UserError(
            f"LR of {width}x{height} pixels is too small for a blur of {2 * radius + 1} pixels: "
            "use larger crops (data.crop), a smaller degradation.kernel, or degradation=bicubic."
        )
    offsets = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma.to(image)[:, None]).square())
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)  # (B * C, 2r + 1)
    # Every channel of every image is a separate group. The Gaussian is separable, so two 1D convolutions suffice.
    groups = batch * channels
    flat = F.pad(image.reshape(1, groups, height, width), (radius,) * 4, mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=groups)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=groups)
    return flat.reshape(batch, channels, height, width)
