"""Score a generator and bicubic interpolation on a set of images."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from srgan_lightning.data.datasets import ValidationSet
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.folder import ImageFolder, PairedFolders
from srgan_lightning.imaging.ops import resize_bicubic, round_to_8_bits
from srgan_lightning.imaging.reading import CONVERSIONS, opened, orientation
from srgan_lightning.metrics.pictures import Pictures
from srgan_lightning.metrics.psnr_ssim import METRIC_NAMES, SSIM_WINDOW, psnr_ssim
from srgan_lightning.utils.errors import UserError

Upscaler = Callable[[Tensor], Tensor]


class EvaluationSet:
    """HR images with their LR, which is read from files or made from HR.

    Args:
        hr_dir: HR images, searched recursively.
        lr_dir: LR images, matched to HR by stem; None makes LR with `degradation`.
        degradation: makes LR if `lr_dir` is None. Its `scale` is also the scale of LR images from files.

    Raises:
        UserError: folders or files are missing, unreadable, too small or do not match.
    """

    def __init__(self, hr_dir: str, lr_dir: str | None, degradation: Bicubic) -> None:
        self.name, self.degradation, self.scale = hr_dir, degradation, degradation.scale
        self.source: ImageFolder | PairedFolders
        if lr_dir is None:
            self.source = ImageFolder(hr_dir, "hr_dir")
        else:
            self.source = PairedFolders(hr_dir, lr_dir, self.scale, "hr_dir")
        self.view = ValidationSet(self.source, self.scale)
        self.bicubic: dict[str, list[float]] = {}  # bicubic's scores by image, computed once for all weights

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield name, LR and HR of each image, (1, 3, H, W) in [0, 1]."""
        for index in range(len(self)):
            sample = self.view[index]
            hr = sample["hr"][None] / 255
            name = self.source.name(index)
            if min(hr.shape[-2:]) < SSIM_WINDOW + 2 * self.scale:
                raise UserError(
                    f"{name} in {self.name} is {hr.shape[-1]}x{hr.shape[-2]} pixels: SSIM needs {SSIM_WINDOW} pixels "
                    f"inside a border of {self.scale}. Remove it from the set."
                )
            lr = (
                sample["lr"][None] / 255
                if "lr" in sample
                else self.degradation(hr, torch.tensor([sample["degradation_u"]]))
            )
            yield name, lr, hr

    def remarks(self) -> list[str]:
        """Describe conversions to 8-bit RGB, rotations by EXIF orientation, and cuts to a multiple of the scale.

        Each conversion is one line, with the name of its first image and the number of the others.
        """
        names: dict[str, list[str]] = {}
        for index, path in enumerate(self.source.paths):
            with opened(path, str(path)) as image:
                what = [CONVERSIONS[image.mode]] if image.mode in CONVERSIONS else []
                if orientation(image) != 1:
                    what.append("turned upright by its EXIF orientation")
                if image.width % self.scale or image.height % self.scale:
                    what.append(f"{image.width}x{image.height} cut to a multiple of {self.scale}")
            if what:
                names.setdefault("; ".join(what), []).append(self.source.name(index))
        return [
            f"{first}{f' and {len(others)} more' if others else ''}: {what}" for what, (first, *others) in names.items()
        ]


def bicubic_upscaler(scale: int) -> Upscaler:
    """Return the baseline, bicubic interpolation from (B, 3, H, W) to (B, 3, scale * H, scale * W)."""
    return lambda lr: resize_bicubic(lr, (scale * lr.shape[-2], scale * lr.shape[-1]))


@torch.inference_mode()
def evaluate_set(
    upscale: Upscaler, images: EvaluationSet, seen: Callable[[Pictures], None] | None = None
) -> dict[str, Any]:
    """Score an upscaler on a set.

    Args:
        upscale: maps LR (1, 3, h, w) in [0, 1] to SR (1, 3, scale * h, scale * w) on the CPU.
        images: the set.
        seen: called with the pictures of every image, for grids and other metrics.

    Returns:
        `n`, the number of images; the mean of each score by name, with the prefix `bicubic_` for bicubic's scores; and
        `images`, a list with the scores of each image.
    """
    bicubic = bicubic_upscaler(images.scale)
    rows: list[dict[str, Any]] = []
    for name, lr, hr in images:
        sr = upscale(lr)
        row: dict[str, Any] = {"name": name}
        if name not in images.bicubic:
            images.bicubic[name] = psnr_ssim(bicubic(lr), hr, images.scale)[0].tolist()
        for prefix, values in (("", psnr_ssim(sr, hr, images.scale)[0].tolist()), ("bicubic_", images.bicubic[name])):
            row |= {prefix + key: value for key, value in zip(METRIC_NAMES, values, strict=True)}
        rows.append(row)
        if seen is not None:
            seen(Pictures(name, lr, round_to_8_bits(sr), hr))
    keys = [key for key in rows[0] if key != "name"]
    return {"n": len(rows), **{key: sum(row[key] for row in rows) / len(rows) for key in keys}, "images": rows}
