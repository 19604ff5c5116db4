"""How LR is made from HR, in batches, on whatever device the images are on.

A degradation is a pure function of the images and of one number per image, its `degradation_u` in [0, 1). The same
number gives the same LR on every device, in any batch, after any resume. The data sets supply it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lightning.data.jpeg import jpeg_compress
from srgan_lightning.imaging.ops import resize_bicubic, round_to_8_bits
from srgan_lightning.utils.errors import UserError


class Bicubic(nn.Module):
    """LR by antialiased bicubic downsampling, rounded to 8 bits; where asked, LR then goes through a JPEG file.

    Args:
        scale: how many times smaller LR is.
        jpeg: lowest and highest quality of the file, 1 to 100, uniform between; None for no file.
        jpeg_probability: share of the images that go through one.

    Raises:
        UserError: a number out of its range.
    """

    min_lr_side = 1
    #: What tables of scores call it.
    label = "bicubic"

    def __init__(self, scale: int = 4, jpeg: tuple[int, int] | None = None, jpeg_probability: float = 1.0) -> None:
        super().__init__()
        if (
            not isinstance(scale, int) or not 1 <= scale <= 64
        ):  # generators have 2, 4 and 8; bicubic can be scored at any
            raise UserError(f"scale={scale} is not possible: give a whole number, 2, 4 or 8 for a generator.")
        if jpeg is not None and (len(jpeg) != 2 or not 1 <= jpeg[0] <= jpeg[1] <= 100):
            raise UserError(f"degradation.jpeg={jpeg}: give two qualities between 1 and 100, the lower first, or null.")
        if not 0 <= jpeg_probability <= 1:
            raise UserError(f"degradation.jpeg_probability={jpeg_probability}: give a share between 0 and 1.")
        self.scale = scale
        self.jpeg, self.jpeg_probability = jpeg, jpeg_probability

    def downsample(self, hr: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 3, H / scale, W / scale), not clamped; raises UserError where `scale` leaves a rest."""
        height, width = hr.shape[-2:]
        if height % self.scale or width % self.scale:
            raise UserError(
                f"HR of {width}x{height} pixels cannot be divided by scale={self.scale}: "
                f"choose sizes (data.size, data.crop) that are multiples of {self.scale}."
            )
        return resize_bicubic(hr, (height // self.scale, width // self.scale))

    def forward(self, hr: Tensor, u: Tensor) -> Tensor:
        """Degrade.

        Args:
            hr: (B, 3, H, W) in [0, 1], H and W multiples of `scale`.
            u: (B,) `degradation_u` of each image, in [0, 1).

        Returns:
            (B, 3, H / scale, W / scale) in [0, 1], multiples of 1/255.

        Raises:
            UserError: H or W is no multiple of `scale`.
        """
        return self.quantize(self.downsample(hr), u)

    def quantize(self, lr: Tensor, u: Tensor) -> Tensor:
        """Round LR to 8 bits, as its file stores it, and compress it as JPEG where `jpeg` is set."""
        lr = round_to_8_bits(lr)
        return lr if self.jpeg is None else jpeg_compress(lr, self.quality_of(u))

    def quality_of(self, u: Tensor) -> Tensor:
        """(B,) qualities of the JPEG files, rounded down where they are written; 0 for no file."""
        if self.jpeg is None:
            return torch.zeros_like(u)
        u = (u * 4096) % 1  # the lower digits: the upper ones pick the blur
        low, high = self.jpeg
        quality = low + (high - low) * u / max(self.jpeg_probability, 1e-9)
        return torch.where(u < self.jpeg_probability, quality, 0)

    def describe(self, u: Tensor) -> list[str]:
        """Describe the degradation of each image in words, from its `degradation_u` (B,)."""
        return [f"bicubic; JPEG {int(q)}" if q >= 1 else "bicubic" for q in self.quality_of(u).tolist()]


class Blur(Bicubic):
    """Bicubic downsampling, then a Gaussian blur of LR with a sigma for each image.

    This is the degradation of experiment=celeba_blur.

    Args:
        scale: how many times smaller LR is.
        kernel: side of the Gaussian in LR pixels, odd.
        sigma: lowest and highest standard deviation, in LR pixels; uniform between.
        probability: share of the images that are blurred; the others stay plain bicubic.
        jpeg: see `Bicubic`; after the blur.
        jpeg_probability: see `Bicubic`.

    Raises:
        UserError: a number out of its range.
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
            raise UserError(f"degradation.kernel={kernel}: a Gaussian needs an odd side.")
        if len(sigma) != 2 or not 0 < sigma[0] <= sigma[1]:
            raise UserError(f"degradation.sigma={sigma}: give two positive numbers, the lower first.")
        if not 0 <= probability <= 1:
            raise UserError(f"degradation.probability={probability}: give a share between 0 and 1.")
        self.radius = kernel // 2
        self.min_lr_side = self.radius + 1  # reflection at the border needs that many pixels
        self.sigma = sigma
        self.probability = probability

    def forward(self, hr: Tensor, u: Tensor) -> Tensor:
        """Degrade; see `Bicubic.forward`. Draws below `probability` blur and are spread over the range of sigma.

        Raises:
            UserError: H or W is no multiple of `scale`, or LR has less than `min_lr_side` pixels a side.
        """
        lr = self.downsample(hr).clamp(0, 1)
        blurred = gaussian_blur(lr, self.sigma_of(u), self.radius)
        return self.quantize(torch.where((u < self.probability)[:, None, None, None], blurred, lr), u)

    def sigma_of(self, u: Tensor) -> Tensor:
        """(B,) standard deviations of those that are blurred."""
        low, high = self.sigma
        return (low + (high - low) * u / max(self.probability, 1e-9)).clamp(max=high)

    def describe(self, u: Tensor) -> list[str]:
        """The degradation of each image in words."""
        blurred = zip(super().describe(u), u.tolist(), self.sigma_of(u).tolist(), strict=True)
        return [f"{text}; blur {sigma:.1f}" if u < self.probability else text for text, u, sigma in blurred]


def gaussian_blur(image: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur each image with its own Gaussian (torchvision's takes one sigma for the whole batch).

    Args:
        image: (B, C, H, W), H and W above `radius`; the border is reflected.
        sigma: (B,) standard deviations in pixels.
        radius: the kernel is 2 * radius + 1 wide.

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
    # Every channel of every image is a group of its own; the Gaussian is separable: two thin depthwise convolutions.
    groups = batch * channels
    flat = F.pad(image.reshape(1, groups, height, width), (radius,) * 4, mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=groups)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=groups)
    return flat.reshape(batch, channels, height, width)
