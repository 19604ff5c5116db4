"""A user's generator: a small RRDB network with only the attributes that the contract requires."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu


class DenseBlock(nn.Module):
    """Dense block: each convolution sees all earlier outputs. A fifth of the result is added to the input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        widths = [channels + index * growth for index in range(3)]
        self.layers = nn.ModuleList(
            nn.Conv2d(width, growth if index < 2 else channels, 3, padding=1) for index, width in enumerate(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for layer in self.layers:
            seen.append(leaky_relu(layer(torch.cat(seen, 1)), 0.2))
        return x + 0.2 * seen[-1]


class OwnRRDB(nn.Module):
    """A network like ESRGAN's, with two convolutions fewer in each block.

    Args:
        scale: 2 or 4.
        channels: feature maps.
        blocks: dense blocks.
    """

    def __init__(self, scale: int = 4, channels: int = 8, blocks: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.arguments: dict[str, Any] = {"scale": scale, "channels": channels, "blocks": blocks}
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*[DenseBlock(channels, 4) for _ in range(blocks)])
        self.up = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(scale.bit_length() - 1))
        self.last = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.first(lr)
        x = x + self.body(x)
        for convolution in self.up:
            x = leaky_relu(convolution(interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        sr: Tensor = self.last(x)
        return sr
