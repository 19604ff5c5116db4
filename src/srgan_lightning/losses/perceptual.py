"""VGG19 content loss (Ledig et al. 2017, section 2.2.1) on one layer or several (Johnson et al. 2016)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lightning.losses.vgg_features import VGGFeatures
from srgan_lightning.utils.errors import UserError

DISTANCES = {"mse": F.mse_loss, "l1": F.l1_loss}


class PerceptualLoss(nn.Module):
    """Mean distance between the VGG features of SR and HR, in a weighted sum over layers; the gradient reaches SR only.

    Args:
        layer: see `VGGFeatures`.
        weights: see `VGGFeatures`.
        layers: weights by layer name, instead of `layer`; a layer with weight 0 is left out.
        distance: `mse` (the paper's) or `l1`.
        normalize: see `VGGFeatures`.

    Raises:
        UserError: a weight or the distance is invalid; see also `VGGFeatures`.
    """

    def __init__(
        self,
        layer: str = "relu5_4",
        weights: str = "imagenet",
        layers: Mapping[str, float] | None = None,
        distance: str = "mse",
        normalize: bool = False,
    ) -> None:
        super().__init__()
        if distance not in DISTANCES:
            raise UserError(f"loss.vgg.distance={distance!r} is unknown: use one of {', '.join(DISTANCES)}.")
        self.distance = distance
        self.layers = {layer: 1.0} if layers is None else check_layers(layers)
        self.features = VGGFeatures(list(self.layers), weights, normalize)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Compute the loss between sr and hr, both (B, 3, H, W) RGB in [0, 1]; always a float32 scalar."""
        with torch.no_grad():  # HR's features need no gradient
            targets = self.features(hr)
        distance = DISTANCES[self.distance]
        terms = zip(self.layers.values(), self.features(sr), targets, strict=True)
        return sum((weight * distance(x.float(), y.float()) for weight, x, y in terms), start=sr.new_zeros(()).float())


def check_layers(layers: Mapping[str, float]) -> dict[str, float]:
    """Return the layers with a weight above 0, as plain floats; raise UserError if a weight is invalid."""
    example = "give weights by layer, such as loss.vgg.layers={conv1_2: 0.1, relu2_2: 1.0}"
    if not isinstance(layers, Mapping):
        raise UserError(f"loss.vgg.layers={layers!r}: {example}.")
    for name, weight in layers.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise UserError(f"loss.vgg.layers.{name}={weight!r}: a weight is a number from 0 up; {example}.")
    chosen = {str(name): float(weight) for name, weight in layers.items() if weight}
    if not chosen:
        raise UserError(f"loss.vgg.layers={dict(layers)} leaves no layer: {example}, or set loss.perceptual=0.")
    return chosen
