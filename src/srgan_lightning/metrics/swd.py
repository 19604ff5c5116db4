"""Compare the patch statistics of SR and HR, without a network."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from srgan_lightning.imaging.ops import resize_bicubic, round_to_8_bits

#: Number of filters, side of a filter in pixels, and step from one patch to the next in pixels.
FILTERS, SIDE, STRIDE = 32, 7, 3
BAND = 64  # rows of patches that are filtered at a time
BINS, REACH = 4096, 1.0  # histograms have BINS bins from -REACH to REACH


class SlicedWassersteinDistance(Metric):
    """Sliced Wasserstein distance between the patches of SR and of HR (after Karras et al. 2018, section 5).

    This is only a cheap substitute for LPIPS. It measures whether SR has detail of HR's kind and amount, not whether
    each detail is in its place, so noise of the right strength scores well too. Random 7x7 filters are applied to the
    octaves that the degradation removed (two at scale 4). The responses of a filter over all images form one
    distribution for SR and one for HR. Equal statistics give 0; bicubic has about 0.45. The paper divides each set's
    responses by their own spread, which would hide blur. Here distances are divided by the spread of HR's responses.

    Args:
        scale: upscaling factor.
    """

    full_state_update = False
    sr: Tensor
    hr: Tensor

    def __init__(self, scale: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.octaves = max(scale.bit_length() - 1, 1)
        filters = torch.randn(FILTERS, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
        filters = filters / filters.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        self.filters: Tensor
        self.register_buffer("filters", filters, persistent=False)
        # Histograms have a fixed size for any number of images, and the histograms of several processes can be added.
        for name in ("sr", "hr"):
            self.add_state(name, torch.zeros(self.octaves, FILTERS, BINS, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, sr: Tensor, hr: Tensor) -> None:
        """Add a batch: both (B, 3, H, W) RGB in [0, 1].

        The scale must divide the sides. At scales below 16, sides that SSIM accepts have room for a filter in the last
        octave too.
        """
        self.sr += self._counts(round_to_8_bits(sr.float()))
        self.hr += self._counts(hr.float())

    def _counts(self, image: Tensor) -> Tensor:
        """Return histograms (octaves, FILTERS, BINS) of the responses to an image's Laplacian pyramid."""
        counts: list[Tensor] = []
        for _ in range(self.octaves):
            height, width = image.shape[-2:]
            smaller = resize_bicubic(image, (height // 2, width // 2))
            detail = image - resize_bicubic(smaller, (height, width))
            counts.append(self._histograms(detail))
            image = smaller
        return torch.stack(counts)

    def _histograms(self, detail: Tensor) -> Tensor:
        """Return histograms (FILTERS, BINS) of the responses, computed in bands of rows to save memory."""
        counts = torch.zeros(FILTERS * BINS, dtype=torch.long, device=detail.device)
        for top in range(0, detail.shape[-2] - SIDE + 1, BAND * STRIDE):
            band = detail[..., top : top + (BAND - 1) * STRIDE + SIDE, :]
            responses = F.conv2d(band, self.filters, stride=STRIDE).transpose(0, 1).flatten(1)  # (FILTERS, positions)
            bins = ((responses / REACH + 1) * (BINS / 2)).long().clamp(0, BINS - 1)
            bins += BINS * torch.arange(FILTERS, device=bins.device)[:, None]
            counts += torch.bincount(bins.flatten(), minlength=FILTERS * BINS)
        return counts.view(FILTERS, BINS)

    def compute(self) -> Tensor:
        """Return the distance, a scalar: the mean over octaves and filters."""
        sr, hr = (n.double() / n.sum(-1, keepdim=True) for n in (self.sr.cpu(), self.hr.cpu()))  # MPS has no float64
        width = 2 * REACH / BINS
        # In one dimension the Wasserstein distance is the area between the two cumulative distributions.
        distance = (sr.cumsum(-1) - hr.cumsum(-1)).abs().sum(-1) * width
        centres = (torch.arange(BINS) + 0.5) * width - REACH
        mean = (hr * centres).sum(-1, keepdim=True)
        spread = (hr * (centres - mean).square()).sum(-1).sqrt()
        return (distance / spread.clamp(min=width)).mean().float().to(self.sr.device)
