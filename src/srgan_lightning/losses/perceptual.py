"""The VGG19 content loss (Ledig et al. 2017, section 2.2.1), of one layer or several (Johnson et al. 2016)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lightning.losses.vgg_features import VGGFeatures
from srgan_lightning.utils.errors import UserError

DISTANCES = {"mse": F.mse_loss, "l1": F.l1_loss}


class PerceptualLoss(nn.Module):
    """Mean distance of the VGG features of SR and HR, summed over layers; its gradient reaches SR alone.

    Args:
        layer: see `VGGFeatures`.
        weights: see `VGGFeatures`.
        layers: weights of several layers by name, which replace `layer`; a layer of weight 0 is left out.
        distance: `mse` (the paper's) or `l1`.
        normalize: see `VGGFeatures`.

    Raises:
        UserError: a weight or the distance is not a valid one, or see `VGGFeatures`.
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
        """sr, hr: (B, 3, H, W) RGB in [0, 1]; a float32 scalar, whatever precision VGG runs in."""
        with torch.no_grad():  # the target needs no graph
            targets = self.features(hr)
        distance = DISTANCES[self.distance]
        terms = zip(self.layers.values(), self.features(sr), targets, strict=True)
        return sum((weight * distance(x.float(), y.float()) for weight, x, y in terms), start=sr.new_zeros(()).float())


def check_layers(layers: Mapping[str, float]) -> dict[str, float]:
    """The layers of a weight above 0, as plain numbers; raises UserError for anything else."""
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
