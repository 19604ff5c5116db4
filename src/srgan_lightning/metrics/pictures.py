"""What a metric is given of one evaluated image."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Pictures:
    """One evaluated image: lr (1, 3, H / scale, W / scale), sr and hr (1, 3, H, W), all multiples of 1/255."""

    name: str
    lr: Tensor
    sr: Tensor
    hr: Tensor
