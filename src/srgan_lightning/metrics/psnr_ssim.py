"""PSNR and SSIM by the conventions of super-resolution papers."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from srgan_lightning.imaging.ops import resize_bicubic, round_to_8_bits

SSIM_WINDOW = 11  # side in pixels; smaller images cannot be scored
#: Minimum number of rows in a band. An image is scored band by band, so that scoring takes only some MB of memory.
BAND = 64
#: Minimum number of pixels in a band: in smaller operations, threads mostly wait for each other.
BAND_PIXELS = 2**18

METRIC_NAMES = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")


def _gaussian_line() -> Tensor:
    """Return one line of SSIM's window in float64: multiples of 2**-25, which add up to exactly 1 in float32 too.

    A sum other than 1 would bias every variance, because a variance is a small difference of large moments.
    """
    offsets = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    line = torch.exp(-0.5 * (offsets / 1.5).square())
    line = (line / line.sum() * 2**25).round() / 2**25
    line[SSIM_WINDOW // 2] += 1 - line.sum()
    return line


GAUSSIAN = _gaussian_line()


def protocol(scale: int) -> dict[str, str]:
    """Describe how all scores of this package are computed, for tables and JSON."""
    return {
        "precision": "SR and scores in float32, whatever precision the training had",
        "rounding": "SR clamped and rounded to 8 bits",
        "border": f"{scale} pixels cropped on every side",
        "y": "ITU-R BT.601 luma, 16..235, as MATLAB rgb2ycbcr (not rounded)",
        "psnr": "per image, dB, peak 255; then the mean over images",
        "ssim": "11x11 Gaussian, sigma 1.5, valid region, per image; then the mean over images",
        "bicubic": "antialiased bicubic, a = -0.5, of the same LR",
    }


def luma(image: Tensor) -> Tensor:
    """Convert (B, 3, H, W) RGB in [0, 1] to BT.601 luma (B, 1, H, W) in 16..235, as MATLAB's `rgb2ycbcr`."""
    # A sum instead of a matrix product, which CUDA may compute in TF32 with 10 bits of mantissa.
    weights = image.new_tensor([65.481, 128.553, 24.966]).view(3, 1, 1)
    return 16 + (image * weights).sum(dim=1, keepdim=True)


def psnr_ssim(sr: Tensor, hr: Tensor, border: int) -> Tensor:
    """Score SR against HR, image by image.

    Args:
        sr: (B, 3, H, W) RGB; clamped and rounded to 8 bits here.
        hr: the same shape, RGB in [0, 1].
        border: pixels cropped on every side before scoring; by convention the scale.

    Returns:
        (B, 4) float32: PSNR-Y (dB), SSIM-Y, PSNR-RGB (dB), SSIM-RGB; infinite PSNR where SR equals HR.

    Raises:
        ValueError: the shapes differ, or a side has fewer than 11 pixels left for SSIM.
    """
    if sr.shape != hr.shape:
        raise ValueError(f"SR is {tuple(sr.shape)} but HR is {tuple(hr.shape)}")
    height, width = hr.shape[-2] - 2 * border, hr.shape[-1] - 2 * border
    if min(height, width) < SSIM_WINDOW:
        size = f"{hr.shape[-1]}x{hr.shape[-2]}"
        raise ValueError(
            f"HR of {size} is too small to score: SSIM needs {SSIM_WINDOW} pixels inside {border} of border"
        )
    window = (..., slice(border, border + height), slice(border, border + width))
    sr, hr = sr[window], hr[window]
    halo, band = SSIM_WINDOW - 1, max(BAND, BAND_PIXELS // (len(hr) * width))
    errors: list[Tensor] = []
    similarities: list[Tensor] = []
    for top in range(0, height, band):
        rows = (..., slice(top, top + band + halo), slice(None))
        a, b = _luma_and_rgb(round_to_8_bits(sr[rows].float())), _luma_and_rgb(hr[rows].float())
        errors.append((a - b)[..., :band, :].square().sum(dim=(2, 3)))
        if a.shape[-2] > halo:  # otherwise no SSIM window starts in this band
            similarities.append(ssim_map(a, b).sum(dim=(2, 3)).float())
    mse = torch.stack(errors).sum(dim=0) / (height * width)
    ssim = torch.stack(similarities).sum(dim=0) / ((height - halo) * (width - halo))
    psnr = [-10 * torch.log10(x) for x in (mse[:, 0], mse[:, 1:].mean(dim=1))]
    return torch.stack([psnr[0], ssim[:, 0], psnr[1], ssim[:, 1:].mean(dim=1)], dim=1)


def _luma_and_rgb(image: Tensor) -> Tensor:
    """Stack luma / 255, R, G and B: (B, 3, H, W) RGB in [0, 1] to (B, 4, H, W)."""
    return torch.cat([luma(image) / 255, image], dim=1)


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Compute SSIM (Wang et al. 2004) of each channel at each window that lies inside the images.

    It filters a + b, a - b and their squares: four maps instead of the five of a, b, their squares and their product.

    Args:
        a: (B, C, H, W) in [0, 1], at least 11 pixels per side.
        b: the same shape.

    Returns:
        (B, C, H - 10, W - 10); float64 on CUDA.
    """
    if a.is_cuda:  # convolutions in float32 could use TF32, with 10 bits of mantissa
        a, b = a.double(), b.double()
    total, difference = a + b - 1, a - b  # the sum is centred at 0 to keep rounding errors small
    moments = _gaussian(torch.cat([total, difference, total.square(), difference.square()], dim=1))
    mean_total, mean_difference, square_total, square_difference = moments.chunk(4, dim=1)
    variance_total = square_total - mean_total.square()
    variance_difference = square_difference - mean_difference.square()
    mean_total, mean_difference = (mean_total + 1).square(), mean_difference.square()
    c1, c2 = 2 * 0.01**2, 2 * 0.03**2
    similar = (mean_total - mean_difference + c1) * (variance_total - variance_difference + c2)
    return similar / ((mean_total + mean_difference + c1) * (variance_total + variance_difference + c2))


def _gaussian(maps: Tensor) -> Tensor:
    """Filter with the 11x11 Gaussian of sigma 1.5, without padding: (B, N, H, W) to (B, N, H - 10, W - 10)."""
    kernel = GAUSSIAN.to(maps).expand(maps.shape[1], 1, 1, SSIM_WINDOW)
    # The Gaussian is separable, so two one-dimensional depthwise convolutions suffice.
    return F.conv2d(F.conv2d(maps, kernel.mT, groups=maps.shape[1]), kernel, groups=maps.shape[1])


class PSNRSSIM(Metric):
    """Mean scores of the model and of bicubic over a validation set, exact for any number of processes.

    It keeps one row per image with the image's index. Distributed samplers repeat images so that all processes take
    equally many steps. Rows with a repeated index are dropped, and the mean is taken in the order of the indices.
    """

    full_state_update = False
    indices: list[Tensor]
    rows: list[Tensor]

    def __init__(self, scale: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.add_state("indices", [], dist_reduce_fx="cat")
        self.add_state("rows", [], dist_reduce_fx="cat")

    def update(self, sr: Tensor, hr: Tensor, lr: Tensor, index: Tensor) -> None:
        """Add a batch: sr and hr (B, 3, H, W), lr (B, 3, H / scale, W / scale), index (B,) of each image in the set."""
        height, width = hr.shape[-2:]
        bicubic = resize_bicubic(lr, (height, width))
        self.indices.append(index)
        self.rows.append(torch.cat([psnr_ssim(sr, hr, self.scale), psnr_ssim(bicubic, hr, self.scale)], dim=1))

    def compute(self) -> dict[str, Tensor]:
        """Return the means by name: `psnr_y`, `ssim_y`, ... and `bicubic_psnr_y`, ..."""
        indices = torch.cat(self.indices) if isinstance(self.indices, list) else self.indices
        rows = torch.cat(self.rows) if isinstance(self.rows, list) else self.rows
        order = {int(i): n for n, i in enumerate(indices.tolist())}
        rows = rows[[order[i] for i in sorted(order)]]
        names = [*METRIC_NAMES, *(f"bicubic_{name}" for name in METRIC_NAMES)]
        means = rows.cpu().double().mean(dim=0).float()  # MPS has no float64
        return dict(zip(names, means.to(rows.device), strict=True))
