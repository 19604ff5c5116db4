"""Real-ESRGAN's U-Net discriminator with spectral normalisation (Wang et al. 2021, section 3.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lightning.utils.errors import UserError


class SpectralConv2d(nn.Module):
    """A convolution without bias whose weight is divided by its largest singular value (Miyato et al. 2018).

    State-dict names and results are those of `torch.nn.utils.spectral_norm`, as in published files. That function is
    not used for two reasons. Under autocast it rounds the singular value to half precision. A module to which it was
    applied cannot be deep-copied after a forward pass.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight_orig = nn.Parameter(nn.Conv2d(inputs, outputs, kernel, bias=False).weight.detach())
        for name, size in (("weight_u", outputs), ("weight_v", inputs * kernel**2)):
            self.register_buffer(name, F.normalize(torch.randn(size), dim=0))
        self.weight_u: Tensor
        self.weight_v: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, outputs, H / stride, W / stride); in training each pass is one power iteration."""
        with torch.autocast(x.device.type, enabled=False):
            matrix = self.weight_orig.flatten(1)
            if self.training:
                with torch.no_grad():
                    self.weight_v.copy_(F.normalize(matrix.T @ self.weight_u, dim=0, eps=1e-12))
                    self.weight_u.copy_(F.normalize(matrix @ self.weight_v, dim=0, eps=1e-12))
            # Clone the vectors: the next forward pass overwrites them, but this pass's backward pass still needs them.
            weight = self.weight_orig / (self.weight_u.clone() @ (matrix @ self.weight_v.clone()))
        return F.conv2d(x, weight, stride=self.stride, padding=1)


class UNetDiscriminator(nn.Module):
    """A discriminator with a logit per pixel: three strided convolutions, three bilinear upsamplings, additive skips.

    With 64 channels it loads files of Real-ESRGAN's discriminator (netD).

    Args:
        channels: width of the first layer; the width doubles at every stride (Real-ESRGAN: 64; with 32 the network
            costs as much as the paper's discriminator).

    Raises:
        UserError: `channels` is out of its range.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        if not 1 <= channels <= 1024:
            raise UserError(f"channels={channels}: a U-Net discriminator has 1 to 1024 channels (Real-ESRGAN: 64).")
        #: Constructor arguments as plain values; artifacts and checkpoints store them.
        self.arguments = {"channels": channels}
        c = channels
        self.conv0 = nn.Conv2d(3, c, 3, padding=1)
        self.conv1 = SpectralConv2d(c, 2 * c, 4, stride=2)
        self.conv2 = SpectralConv2d(2 * c, 4 * c, 4, stride=2)
        self.conv3 = SpectralConv2d(4 * c, 8 * c, 4, stride=2)
        self.conv4 = SpectralConv2d(8 * c, 4 * c, 3, stride=1)
        self.conv5 = SpectralConv2d(4 * c, 2 * c, 3, stride=1)
        self.conv6 = SpectralConv2d(2 * c, c, 3, stride=1)
        self.conv7 = SpectralConv2d(c, c, 3, stride=1)
        self.conv8 = SpectralConv2d(c, c, 3, stride=1)
        self.conv9 = nn.Conv2d(c, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Classify each pixel as real or generated.

        Args:
            image: (B, 3, H, W) RGB in [0, 1], of any size.

        Returns:
            (B, 1, H, W) logits, high where the image looks real; no sigmoid.
        """
        height, width = image.shape[-2:]
        if height % 8 or width % 8:
            image = F.pad(image, (0, -width % 8, 0, -height % 8), mode="replicate")
        full = _activate(self.conv0(image))
        half = _activate(self.conv1(full))
        quarter = _activate(self.conv2(half))
        x = _activate(self.conv3(quarter))
        for convolution, skip in ((self.conv4, quarter), (self.conv5, half), (self.conv6, full)):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = _activate(convolution(x)) + skip
        logits: Tensor = self.conv9(_activate(self.conv8(_activate(self.conv7(x)))))
        return logits[..., :height, :width]


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)
