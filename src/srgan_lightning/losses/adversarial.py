"""Adversarial losses on logits (Ledig et al. 2017, section 2.2.2, and the usual alternatives)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from srgan_lightning.utils.errors import UserError

KINDS = ("bce", "hinge", "least_squares", "linear", "relativistic")
#: Kinds whose discriminator is trained with labels: 1 for HR, 0 for SR.
LABELLED = ("bce", "least_squares", "relativistic")


class AdversarialLoss:
    """Adversarial losses of generator and discriminator: scalar means over all logits, computed in float32.

    Logits have any shape: (B, 1), one per image, or maps (B, 1, H, W), one per pixel.

    Args:
        kind: `bce` (the paper's, non-saturating), `hinge`, `least_squares`, `linear` or `relativistic`. `linear` is
            used by loss=all_terms: the discriminator minimises 1 - D(hr) + D(sr), and the generator minimises
            1 - D(sr), where D is the sigmoid of the logits. `relativistic` is ESRGAN's loss (Wang et al. 2018, section
            3.2): the average of two cross-entropies. One is computed on HR's logits minus the mean logit of SR, the
            other on SR's logits minus the mean logit of HR. The mean logits are over the batch of one process.
        label_smoothing: s in [0, 0.5): the discriminator's label of HR is 1 - s; the label of SR stays 0.

    Raises:
        UserError: the kind is unknown; the label smoothing is out of its range; or it is not 0, but the kind has no
            labels.
    """

    def __init__(self, kind: str = "bce", label_smoothing: float = 0.0) -> None:
        if kind not in KINDS:
            raise UserError(f"loss.adversarial_kind={kind!r} is unknown: use one of {', '.join(KINDS)}.")
        if not 0 <= label_smoothing < 0.5:
            raise UserError(f"loss.label_smoothing={label_smoothing}: give a number from 0 to below 0.5, such as 0.1.")
        if label_smoothing and kind not in LABELLED:
            raise UserError(
                f"loss.label_smoothing={label_smoothing} needs labels, which loss.adversarial_kind={kind} does not "
                f"have: set loss.label_smoothing=0, or use one of {', '.join(LABELLED)}."
            )
        self.kind, self.label_smoothing = kind, label_smoothing

    @property
    def relativistic(self) -> bool:
        """Whether the generator's loss needs the logits of HR too."""
        return self.kind == "relativistic"

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return the generator's loss, low when the discriminator classifies SR as real.

        Args:
            fake: logits of SR.
            real: logits of HR, needed by the relativistic kind.
        """
        fake = fake.float()
        if self.relativistic:
            if real is None:
                raise ValueError("the relativistic term needs the discriminator's logits of HR")
            real, fake = _relative(real.detach(), fake)
            return (F.softplus(real).mean() + F.softplus(-fake).mean()) / 2
        if self.kind == "bce":
            return F.softplus(-fake).mean()  # -log D(sr), not the saturating log(1 - D(sr))
        if self.kind == "hinge":
            return -fake.mean()
        if self.kind == "least_squares":
            return (fake - 1).square().mean()
        return (1 - torch.sigmoid(fake)).mean()

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the discriminator's loss, low when HR and SR are distinguished.

        Args:
            real: logits of HR.
            fake: logits of SR.
        """
        real, fake = real.float(), fake.float()
        if self.relativistic:
            real, fake = _relative(real, fake)
        if self.kind in ("bce", "relativistic"):
            loss = F.softplus(-real).mean() + F.softplus(fake).mean()
            loss = loss + self.label_smoothing * real.mean() if self.label_smoothing else loss
            return loss / 2 if self.relativistic else loss
        if self.kind == "hinge":
            return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        if self.kind == "least_squares":
            return (real - (1 - self.label_smoothing)).square().mean() + fake.square().mean()
        return (1 - torch.sigmoid(real)).mean() + torch.sigmoid(fake).mean()

    def probabilities(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean D(HR) and D(SR), scalars in [0, 1].

        For `relativistic`, the first is the probability that HR looks more real than the average SR. The second is the
        probability that SR looks more real than the average HR.
        """
        if self.relativistic:
            real, fake = _relative(real, fake)
        return torch.sigmoid(real).mean(), torch.sigmoid(fake).mean()


def _relative(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract the mean logit of SR from the logits of HR, and the reverse."""
    real, fake = real.float(), fake.float()
    return real - fake.mean(), fake - real.mean()
