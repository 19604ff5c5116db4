"""The images that a metric receives."""

from dataclasses import dataclass

from torch import Tensor

from srgan_lightning.imaging.ops import resize_bicubic


@dataclass
class Pictures:
    """One evaluated image: lr (1, 3, H / scale, W / scale), sr and hr (1, 3, H, W), all multiples of 1/255."""

    name: str
    lr: Tensor
    sr: Tensor
    hr: Tensor

    @property
    def bicubic(self) -> Tensor:
        """LR after bicubic upsampling, (1, 3, H, W) in [0, 1]."""
        return resize_bicubic(self.lr, (self.hr.shape[-2], self.hr.shape[-1])).clamp(0, 1)
