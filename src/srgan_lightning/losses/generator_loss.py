"""The generator's loss: a weighted sum of terms (Ledig et al. 2017, equation 3)."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from srgan_lightning.losses.adversarial import AdversarialLoss
from srgan_lightning.losses.grid import grid_error
from srgan_lightning.losses.perceptual import PerceptualLoss, check_layers
from srgan_lightning.losses.r1 import R1
from srgan_lightning.losses.ramp import Ramp
from srgan_lightning.utils.errors import UserError

PIXEL_KINDS = {"mse": F.mse_loss, "l1": F.l1_loss}


def total_variation(image: Tensor) -> Tensor:
    """Return the mean squared difference of neighbouring pixels of (B, 3, H, W), rows plus columns; a scalar."""
    image = image.float()  # half precision rounds small differences to 0
    rows = (image[..., 1:, :] - image[..., :-1, :]).square().mean()
    columns = (image[..., :, 1:] - image[..., :, :-1]).square().mean()
    return rows + columns


class GeneratorLoss(nn.Module):
    """pixel + perceptual + adversarial + total variation + grid; a term of weight 0 is not computed.

    Args:
        pixel: weight of the pixel distance between SR and HR in [0, 1].
        perceptual: weight of the VGG19 feature distance (paper: 0.006, equivalent to dividing the features by 12.75).
        adversarial: weight of the adversarial term (paper: 1e-3).
        total_variation: weight of the total variation of SR (loss=all_terms: 2e-8).
        pixel_kind: `mse` (the paper's) or `l1`.
        adversarial_kind: see `AdversarialLoss`.
        adversarial_start: number of updates before the adversarial term and the discriminator's training begin.
        adversarial_ramp: number of further updates over which the term's weight rises to `adversarial`.
        adversarial_ramp_kind: see `Ramp`.
        label_smoothing: see `AdversarialLoss`.
        r1: weight of the discriminator's gradient penalty, see `R1`.
        r1_interval: number of discriminator updates from one penalty to the next.
        grid: weight of `grid_error`.
        grid_period: HR pixels per LR pixel, the scale.
        vgg: arguments of `PerceptualLoss`.
        extra: weights of the terms that a subclass adds in its `forward`, by name.

    Raises:
        UserError: a number is out of its range, all weights are 0, a kind is unknown, or VGG weights are unavailable.
    """

    def __init__(
        self,
        pixel: float = 0.0,
        perceptual: float = 0.006,
        adversarial: float = 1e-3,
        total_variation: float = 0.0,
        pixel_kind: str = "mse",
        adversarial_kind: str = "bce",
        vgg: Mapping[str, Any] | None = None,
        extra: Mapping[str, float] | None = None,
        adversarial_start: int = 0,
        adversarial_ramp: int = 0,
        adversarial_ramp_kind: str = "linear",
        label_smoothing: float = 0.0,
        r1: float = 0.0,
        r1_interval: int = 16,
        grid: float = 0.0,
        grid_period: int = 4,
    ) -> None:
        super().__init__()
        self.weights = {
            "pixel": float(pixel),
            "perceptual": float(perceptual),
            "adversarial": float(adversarial),
            "total_variation": float(total_variation),
            "grid": float(grid),
            **{name: float(weight) for name, weight in (extra or {}).items()},
        }
        for name, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                raise UserError(f"loss.{name}={weight}: a weight is a number from 0 up; 0 leaves the term out.")
        if not any(self.weights.values()):
            raise UserError("All loss weights are 0: nothing would be learned. Set loss.pixel, loss.perceptual, ...")
        if pixel_kind not in PIXEL_KINDS:
            raise UserError(f"loss.pixel_kind={pixel_kind!r} is unknown: use one of {', '.join(PIXEL_KINDS)}.")
        self.pixel_kind = pixel_kind
        self.grid_period = grid_period
        self.gan = AdversarialLoss(adversarial_kind, label_smoothing)
        self.ramp = Ramp(adversarial_start, adversarial_ramp, adversarial_ramp_kind)
        self.r1 = R1(r1, r1_interval)
        self.updates = 0  #: number of generator updates so far; training sets it, and `ramp` reads it
        self.vgg = dict(vgg or {})
        self.perceptual = PerceptualLoss(**self.vgg) if self.weights["perceptual"] else None

    @property
    def adversarial_weight(self) -> float:
        """The adversarial weight at this update; at 0 the discriminator is neither used nor trained."""
        return self.weights["adversarial"] * self.ramp(self.updates)

    @property
    def recipe(self) -> dict[str, Any]:
        """A description of this loss in plain values, for checkpoints and artifacts."""
        recipe: dict[str, Any] = {name: weight for name, weight in self.weights.items() if weight}
        if "pixel" in recipe:
            recipe["pixel_kind"] = self.pixel_kind
        if "perceptual" in recipe:
            if self.vgg.get("layers") is None:
                recipe["vgg_layer"] = self.vgg.get("layer", "relu5_4")
            else:
                recipe["vgg_layers"] = check_layers(self.vgg["layers"])
            if self.vgg.get("distance", "mse") != "mse":
                recipe["vgg_distance"] = self.vgg["distance"]
            if self.vgg.get("normalize"):
                recipe["vgg_normalize"] = True
        if "adversarial" in recipe:
            recipe["adversarial_kind"] = self.gan.kind
            options = {"start": self.ramp.start, "ramp": self.ramp.length}
            recipe |= {f"adversarial_{name}": value for name, value in options.items() if value}
            if self.ramp.length:
                recipe["adversarial_ramp_kind"] = self.ramp.kind
            if self.gan.label_smoothing:
                recipe["label_smoothing"] = self.gan.label_smoothing
            if self.r1.weight:
                recipe |= {"r1": self.r1.weight, "r1_interval": self.r1.interval}
        if type(self) is not GeneratorLoss:
            recipe["class"] = f"{type(self).__module__}.{type(self).__qualname__}"
        return recipe

    def forward(
        self, sr: Tensor, hr: Tensor, fake: Tensor | None = None, real: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss.

        Args:
            sr: (B, 3, H, W) RGB around [0, 1], with gradient.
            hr: (B, 3, H, W) RGB in [0, 1].
            fake: logits of SR, of any shape; needed when `adversarial_weight` is not 0.
            real: logits of HR; needed when the adversarial kind is relativistic.

        Returns:
            The weighted sum, and each weighted term by name.
        """
        sr, hr = sr.float(), hr.float()  # half precision is too coarse for pixel differences
        terms: dict[str, Tensor] = {}
        if self.weights["pixel"]:
            terms["pixel"] = PIXEL_KINDS[self.pixel_kind](sr, hr)
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(sr, hr)
        if self.adversarial_weight:
            if fake is None:
                raise ValueError("the adversarial term needs the discriminator's logits of SR")
            terms["adversarial"] = self.gan.generator(fake, real)
        if self.weights["total_variation"]:
            terms["total_variation"] = total_variation(sr)
        if self.weights["grid"]:
            terms["grid"] = grid_error(sr, hr, self.grid_period)
        weights = {**self.weights, "adversarial": self.adversarial_weight}
        terms = {name: weights[name] * term for name, term in terms.items()}
        return sum(terms.values(), start=sr.new_zeros(())), terms
