"""One validation image for the grids of `samples/` and for loggers."""

from typing import NamedTuple

from torch import Tensor
from torchvision.transforms.v2.functional import center_crop

from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.metrics.psnr_ssim import METRIC_NAMES
from srgan_lightning.metrics.score_format import format_score

#: Names of the scores that are shown, with their columns in `PSNRSSIM.rows`.
SHOWN = {
    "psnr_y": 0,
    "ssim_y": 1,
    "bicubic_psnr_y": len(METRIC_NAMES),
    "bicubic_ssim_y": len(METRIC_NAMES) + 1,
}


class SampleRow(NamedTuple):
    """A validation image as LR (3, h, w), and bicubic, SR and HR (3, H, W): RGB in [0, 1] on the CPU.

    The pictures may be central crops, but the scores are those of the whole image (PSNR in dB).
    """

    name: str
    lr: Tensor
    bicubic: Tensor
    sr: Tensor
    hr: Tensor
    scores: dict[str, float]

    @property
    def caption(self) -> str:
        own, bicubic = (format_score(name, self.scores[name]) for name in ("psnr_y", "bicubic_psnr_y"))
        return f"{self.name}: {own} dB (bicubic {bicubic} dB)"


def make_row(name: str, lr: Tensor, sr: Tensor, hr: Tensor, scores: list[float], size: int) -> SampleRow:
    """Crop pictures to their centre, and move them to the CPU.

    Args:
        name: name of the image.
        lr: (3, h, w).
        sr: (3, H, W), not necessarily in [0, 1].
        hr: (3, H, W).
        scores: the image's row of `PSNRSSIM.rows`.
        size: maximum height and width of the HR crop in pixels.
    """
    bicubic = resize_bicubic(lr[None], (hr.shape[-2], hr.shape[-1]))[0]
    scale = hr.shape[-1] // lr.shape[-1]
    large = [min(size, side) for side in hr.shape[-2:]]
    small = [max(1, side // scale) for side in large]
    centres = [center_crop(lr, small), *(center_crop(picture, large) for picture in (bicubic, sr, hr))]
    low, up, result, truth = (picture.clamp(0, 1).cpu() for picture in centres)
    shown = {key: scores[column] for key, column in SHOWN.items()}
    return SampleRow(name, low, up, result, truth, shown)
