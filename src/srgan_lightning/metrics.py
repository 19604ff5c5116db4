"""PSNR and SSIM as the super-resolution field reports them."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from srgan_lightning.data.datasets import SSIM_WINDOW
from srgan_lightning.data.degradation import resize_bicubic, round_to_8_bits

NAMES = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")


def protocol(scale: int) -> dict[str, str]:
    """The protocol behind every score of this package, for the head of tables and JSON."""
    return {
        "rounding": "SR clamped and rounded to 8 bits",
        "border": f"{scale} pixels cropped on every side",
        "y": "ITU-R BT.601 luma, 16..235, as MATLAB rgb2ycbcr (not rounded)",
        "psnr": "per image, dB, peak 255; then the mean over images",
        "ssim": "11x11 Gaussian, sigma 1.5, valid region, per image; then the mean over images",
        "bicubic": "antialiased bicubic, a = -0.5, of the same LR",
    }


def luma(image: Tensor) -> Tensor:
    """(B, 3, H, W) RGB in [0, 1] to (B, 1, H, W) BT.601 luma in 16..235 (MATLAB's `rgb2ycbcr`)."""
    # A sum, not a matrix product, which CUDA may compute in TF32 with 10 bits of mantissa.
    weights = image.new_tensor([65.481, 128.553, 24.966]).view(3, 1, 1)
    return 16 + (image * weights).sum(dim=1, keepdim=True)


def score(sr: Tensor, hr: Tensor, border: int) -> Tensor:
    """Score SR against HR, image by image.

    Args:
        sr: (B, 3, H, W) RGB; clamped and rounded to 8 bits here.
        hr: the same shape, RGB in [0, 1].
        border: pixels cropped on every side before scoring, `scale` by the field's habit.

    Returns:
        (B, 4) float32: PSNR-Y (dB), SSIM-Y, PSNR-RGB (dB), SSIM-RGB; infinite PSNR where SR equals HR.

    Raises:
        ValueError: the shapes differ, or less than 11 pixels a side are left for SSIM.
    """
    if sr.shape != hr.shape:
        raise ValueError(f"SR is {tuple(sr.shape)} but HR is {tuple(hr.shape)}")
    height, width = hr.shape[-2] - 2 * border, hr.shape[-1] - 2 * border
    if min(height, width) < SSIM_WINDOW:
        size = f"{hr.shape[-1]}x{hr.shape[-2]}"
        raise ValueError(f"HR of {size} is too small to score: {SSIM_WINDOW} pixels and {border} of border")
    window = (..., slice(border, border + height), slice(border, border + width))
    sr, hr = round_to_8_bits(sr.float())[window], hr.float()[window]
    columns: list[Tensor] = []
    for a, b in ((luma(sr), luma(hr)), (sr * 255, hr * 255)):
        columns.append(peak_signal_noise_ratio(a, b, data_range=255.0, reduction="none", dim=(1, 2, 3)))
        if a.is_cuda:  # float64 there keeps TF32, with its 10 bits of mantissa, out of the convolutions
            a, b = a.double(), b.double()
        _, ssim = structural_similarity_index_measure(
            a, b, data_range=255.0, sigma=1.5, kernel_size=SSIM_WINDOW, reduction="none", return_full_image=True
        )
        # torchmetrics reflects the border; the field averages only windows that lie inside the image.
        inside = slice(SSIM_WINDOW // 2, -(SSIM_WINDOW // 2))
        columns.append(ssim[..., inside, inside].mean(dim=(1, 2, 3)).float())
    return torch.stack(columns, dim=1)


class Scores(Metric):
    """Mean scores of the model and of bicubic over a validation set, exact for any number of processes.

    Keeps one row per image with the image's index. Processes pad their share with repeated images so that all take as
    many steps; rows with an index already seen are dropped, and the mean runs in the order of the indices.
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
        """Add a batch: sr and hr (B, 3, H, W), lr (B, 3, H / scale, W / scale), index (B,) of each image in its set."""
        height, width = hr.shape[-2:]
        bicubic = resize_bicubic(lr, (height, width))
        self.indices.append(index)
        self.rows.append(torch.cat([score(sr, hr, self.scale), score(bicubic, hr, self.scale)], dim=1))

    def compute(self) -> dict[str, Tensor]:
        """The means under `psnr_y`, `ssim_y`, ... and `bicubic_psnr_y`, ..."""
        indices = torch.cat(self.indices) if isinstance(self.indices, list) else self.indices
        rows = torch.cat(self.rows) if isinstance(self.rows, list) else self.rows
        order = {int(i): n for n, i in enumerate(indices.tolist())}
        rows = rows[[order[i] for i in sorted(order)]]
        names = [*NAMES, *(f"bicubic_{name}" for name in NAMES)]
        means = rows.cpu().double().mean(dim=0).float()  # MPS has no float64
        return dict(zip(names, means.to(rows.device), strict=True))
