"""A user's generator, which shares no code with the package's."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle


class Espcn(nn.Module):
    """Shi et al. 2016: convolutions at the size of LR, then one shuffle.

    Args:
        width: feature maps.
        scale: upsampling factor.
    """

    def __init__(self, width: int, scale: int) -> None:
        super().__init__()
        self.scale, self.arguments = scale, {"width": width, "scale": scale}
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 5, padding=2), nn.Tanh(), nn.Conv2d(width, 3 * scale**2, 3, padding=1)
        )
        self.register_buffer("order", torch.arange(3))  # integers in the weights, as in attention

    def forward(self, lr: Tensor) -> Tensor:
        return pixel_shuffle(self.body(lr[:, self.order]), self.scale)


class Generator(Espcn):
    """Name a user's class like the package's."""


class Wide(Espcn):
    """Name the arguments like the package's."""

    def __init__(self, scale: int, channels: int = 12, blocks: int = 3) -> None:
        super().__init__(channels, scale)
        self.arguments = {"channels": channels, "blocks": blocks, "scale": scale}
