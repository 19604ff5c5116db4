"""SRResNet, the generator of SRGAN (Ledig et al. 2017, arXiv 1609.04802, section 2.1 and figure 4)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.imaging.tiles import run_tiled
from srgan_lightning.networks.contract import SRModule
from srgan_lightning.networks.icnr import equal_phases
from srgan_lightning.networks.prelu import PReLU
from srgan_lightning.utils.errors import UserError

#: Side of `forward_lean`'s tiles in LR pixels. Features of SR's size take most memory, so they are computed in tiles.
RECONSTRUCTION_TILE = 64


class ResidualBlock(nn.Module):
    """A residual block (conv3x3, BN, PReLU, conv3x3, BN, sum) from (B, C, H, W) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # No bias before batch normalisation, which would cancel it.
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            PReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


def check_scale(scale: int) -> None:
    """Raise UserError unless the scale is 2, 4 or 8."""
    if scale not in (2, 4, 8):
        raise UserError(f"scale={scale} is not possible: each step doubles the image, so use 2, 4 or 8.")


class Generator(SRModule):
    """SRResNet, which maps LR images of any size to SR images `scale` times as wide and high.

    Args:
        channels: feature maps of the trunk (paper: 64).
        blocks: residual blocks (paper: 16).
        scale: upsampling factor, 2, 4 or 8 (paper: 4).
        global_skip: `none` (the paper's) or `bicubic`, which adds bicubic upsampling of LR to the output. The network
            then learns only the residual, and starts as bicubic interpolation.
        icnr: initialise the sub-pixel convolutions by `equal_phases`; checkpoints and artifacts do not store this.

    Raises:
        UserError: an argument is out of its range.
    """

    def __init__(
        self, channels: int = 64, blocks: int = 16, scale: int = 4, global_skip: str = "none", icnr: bool = False
    ) -> None:
        super().__init__()
        check_scale(scale)
        if global_skip not in ("none", "bicubic"):
            raise UserError(f"global_skip={global_skip!r} is unknown: use none or bicubic.")
        if not 1 <= channels <= 2048 or not 0 <= blocks <= 512:  # larger ones would fill the memory before any error
            raise UserError(
                f"channels={channels}, blocks={blocks}: a generator has 1 to 2048 channels and 0 to 512 blocks."
            )
        self.scale = scale
        #: Constructor arguments as plain values; artifacts and checkpoints store them.
        self.arguments = {
            "channels": channels,
            "blocks": blocks,
            "scale": scale,
            "global_skip": global_skip,
        }
        self.global_skip = global_skip
        self.lr_features = self.hr_features = channels
        # Trailing comments name layers as in figure 4: k9n64s1 has a 9x9 kernel, 64 feature maps and stride 1.
        self.head = nn.Sequential(nn.Conv2d(3, channels, 9, padding=4), PReLU())  # k9n64s1
        self.trunk = nn.Sequential(
            *[ResidualBlock(channels) for _ in range(blocks)],
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),  # k3n64s1
            nn.BatchNorm2d(channels),
        )
        self.upsampler = nn.Sequential()
        for _ in range(scale.bit_length() - 1):  # log2(scale) doublings
            self.upsampler.append(convolution := nn.Conv2d(channels, 4 * channels, 3, padding=1))  # k3n256s1
            if icnr:
                equal_phases(convolution)
            self.upsampler.append(nn.PixelShuffle(2))
            self.upsampler.append(PReLU())
        self.tail = nn.Conv2d(channels, 3, 9, padding=4)  # k9n3s1
        if global_skip == "bicubic":
            nn.init.zeros_(self.tail.weight)
            nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale LR.

        Args:
            lr: (B, 3, H, W) RGB in [0, 1].

        Returns:
            (B, 3, scale * H, scale * W) RGB around [0, 1], not clamped, so that gradients flow everywhere.
        """
        x = self.head(lr)
        residual = self.upsample(x + self.trunk(x))
        if self.global_skip == "none":
            return residual
        height, width = lr.shape[-2:]
        # Add in float32, even under autocast: half precision would round the image itself, not only the residual.
        with torch.autocast(lr.device.type, enabled=False):
            return residual + resize_bicubic(lr.float(), (height * self.scale, width * self.scale))

    def forward_lean(self, lr: Tensor) -> Tensor:
        """Compute `forward` with less memory, for inference: upsampler and tail run in small tiles."""
        x = self.head(lr)
        x = x + self.trunk(x)
        residual = run_tiled(self.upsample, x, self.scale, RECONSTRUCTION_TILE, self.reconstruction_radius).float()
        if self.global_skip == "none":
            return residual
        height, width = lr.shape[-2:]
        return residual + resize_bicubic(lr, (self.scale * height, self.scale * width))

    @property
    def reconstruction_radius(self) -> int:
        """Receptive radius of upsampler and tail in LR pixels: 3 at x4."""
        radius = 4  # k9n3s1, in SR pixels
        for _ in range(self.scale.bit_length() - 1):
            radius = -(-radius // 2) + 1  # PixelShuffle halves the distance, the 3x3 convolution before it adds 1
        return radius

    @property
    def receptive_radius(self) -> int:
        """Largest distance, in LR pixels, from an SR pixel to an LR pixel that affects it: 40 with 16 blocks at x4.

        The bicubic skip depends only on pixels up to 2 away.
        """
        blocks: int = self.arguments["blocks"]
        return 4 + (2 * blocks + 1) + self.reconstruction_radius  # 9x9 head, 3x3 convolutions of the trunk

    def upsample(self, features: Tensor) -> Tensor:
        """Map the trunk's features (B, C, H, W) to the residual (B, 3, scale * H, scale * W) by upsampler and tail."""
        *layers, _, activation = self.upsampler
        for layer in layers:
            features = layer(features)
        # The last activation is elementwise, so it may run before the last shuffle.
        return pixel_shuffle_conv(activation(features), self.tail)


def pixel_shuffle_conv(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Compute `convolution(pixel_shuffle(x, 2))` with the convolution before the shuffle, at half the size.

    Both orders compute the same sums. On a CPU, three output channels leave most of a vector unit idle, and twelve do
    not. This order therefore takes a third of the time.

    Args:
        x: (B, 4 * C, H, W).
        convolution: C to 3 channels, 9x9, padded by 4, with a bias.
    """
    # The 9x9 kernel lies within 5x5 cells of 2x2 pixels, that is 10x10 pixels. Each of the four output pixels in a cell
    # needs the kernel at another position in these 10x10 pixels.
    shifted = [F.pad(convolution.weight, (left, 1 - left, top, 1 - top)) for top in (0, 1) for left in (0, 1)]
    weight = F.pixel_unshuffle(torch.stack(shifted, dim=1).flatten(0, 1), 2)  # (3 * 4, C * 4, 5, 5)
    assert convolution.bias is not None
    return F.pixel_shuffle(F.conv2d(x, weight, convolution.bias.repeat_interleave(4, dim=0), padding=2), 2)
