"""The discriminator of SRGAN (Ledig et al. 2017, section 2.1 and figure 4)."""

import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lightning.utils.errors import UserError


class GridMean(nn.Module):
    """Average (B, C, H, W) to (B, C, grid, grid), like `nn.AdaptiveAvgPool2d`.

    The backward pass of `AdaptiveAvgPool2d` is not deterministic on CUDA. That layer is therefore used only if `grid`
    does not divide the size.
    """

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if height == width == self.grid:
            return x
        if height % self.grid or width % self.grid:
            return F.adaptive_avg_pool2d(x, self.grid)
        g = self.grid
        return x.reshape(*x.shape[:2], g, height // g, g, width // g).mean(dim=(3, 5))


class Discriminator(nn.Module):
    """The paper's discriminator: eight 3x3 convolutions with strides 1, 2, 1, 2, ..., and two dense layers.

    BatchNorm follows each convolution but the first, and LeakyReLU each layer but the last. Any HR size from 16 pixels
    per side works: features are averaged to a fixed grid before the dense layers. For the paper's 96x96 patches this
    changes nothing.

    Args:
        channels: width of the first layer; the width doubles at every second layer (paper: 64, up to 512).
        grid: side of the grid before the dense layers (for the paper's 96x96 patches: 6).
        hidden: width of the first dense layer (paper: 1024).

    Raises:
        UserError: an argument is out of its range.
    """

    def __init__(self, channels: int = 64, grid: int = 6, hidden: int = 1024) -> None:
        super().__init__()
        if not (1 <= channels <= 1024 and 1 <= grid <= 64 and hidden >= 1 and channels * grid**2 * hidden <= 2**28):
            raise UserError(
                f"channels={channels}, grid={grid}, hidden={hidden}: a discriminator has 1 to 1024 channels, a grid of "
                "1 to 64, hidden from 1, and 8 x channels x grid x grid x hidden of at most 2^31 (paper: 64, 6, 1024)."
            )
        #: Constructor arguments as plain values; artifacts and checkpoints store them.
        self.arguments = {"channels": channels, "grid": grid, "hidden": hidden}
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        width = channels
        for i, factor in enumerate((1, 2, 2, 4, 4, 8, 8)):  # in figure 4: k3n64s2, k3n128s1, k3n128s2, ... k3n512s2
            layers += [
                nn.Conv2d(width, factor * channels, 3, stride=1 + (i + 1) % 2, padding=1, bias=False),
                nn.BatchNorm2d(factor * channels),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            width = factor * channels
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            GridMean(grid),
            nn.Flatten(),
            nn.Linear(width * grid * grid, hidden),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(hidden, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Classify images as real or generated.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].

        Returns:
            (B, 1) logits, high for real; no sigmoid.
        """
        logits: Tensor = self.head(self.features(image))
        return logits
