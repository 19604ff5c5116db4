"""Adversarial losses on logits (Ledig et al. 2017, section 2.2.2, and the usual alternatives)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from srgan_lightning.errors import UserError

KINDS = ("bce", "hinge", "least_squares", "linear")


class AdversarialLoss:
    """Both sides of the game, each a scalar mean over all logits, in float32 whatever these are.

    Logits have any shape: (B, 1), one an image, or maps (B, 1, H, W), one a pixel.

    Args:
        kind: `bce` (the paper's, non-saturating), `hinge`, `least_squares`, or `linear`, the seed system's: the
            discriminator minimises 1 - D(hr) + D(sr), the generator 1 - D(sr), with D the sigmoid of the logits.
        label_smoothing: s in [0, 0.5): the discriminator's label of HR is 1 - s, that of SR stays 0.

    Raises:
        UserError: an unknown kind; a smoothing out of its range, or for a kind that has no labels.
    """

    def __init__(self, kind: str = "bce", label_smoothing: float = 0.0) -> None:
        if kind not in KINDS:
            raise UserError(f"loss.adversarial_kind={kind!r} is unknown: use one of {', '.join(KINDS)}.")
        if not 0 <= label_smoothing < 0.5:
            raise UserError(f"loss.label_smoothing={label_smoothing}: give a number from 0 to below 0.5, such as 0.1.")
        if label_smoothing and kind not in ("bce", "least_squares"):
            raise UserError(
                f"loss.label_smoothing={label_smoothing} needs labels, which loss.adversarial_kind={kind} has not: set "
                "it to 0, or use bce or least_squares."
            )
        self.kind, self.label_smoothing = kind, label_smoothing

    def generator(self, fake: Tensor) -> Tensor:
        """Low when the discriminator takes SR for real; fake: logits of SR."""
        fake = fake.float()
        if self.kind == "bce":
            return F.softplus(-fake).mean()  # -log D(sr), not the saturating log(1 - D(sr))
        if self.kind == "hinge":
            return -fake.mean()
        if self.kind == "least_squares":
            return (fake - 1).square().mean()
        return (1 - torch.sigmoid(fake)).mean()

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Low when HR and SR are told apart; real, fake: logits of HR and of SR."""
        real, fake = real.float(), fake.float()
        if self.kind == "bce":
            loss = F.softplus(-real).mean() + F.softplus(fake).mean()
            return loss + self.label_smoothing * real.mean() if self.label_smoothing else loss
        if self.kind == "hinge":
            return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        if self.kind == "least_squares":
            return (real - (1 - self.label_smoothing)).square().mean() + fake.square().mean()
        return (1 - torch.sigmoid(real)).mean() + torch.sigmoid(fake).mean()
