"""Lazy R1: a gradient penalty of the discriminator at HR (Mescheder et al. 2018; Karras et al. 2020, section 3.1)."""

from collections.abc import Callable

import torch
from torch import Tensor

from srgan_lightning.utils.errors import UserError


class R1:
    """The R1 penalty: weight / 2 times the squared norm of D's gradient with respect to HR.

    The penalty is computed only in every `interval`-th discriminator update, and multiplied by `interval`. For a map of
    logits, the gradient of the mean logit is used. HR is in [0, 1]. In the papers' range [-1, 1] the gradient is
    half as large, so their weight of 10 corresponds to 2.5 here.

    Args:
        weight: gamma; 0 turns the penalty off.
        interval: number of discriminator updates per penalty.

    Raises:
        UserError: a number is out of its range.
    """

    def __init__(self, weight: float = 0.0, interval: int = 16) -> None:
        if not 0 <= weight < float("inf"):
            raise UserError(f"loss.r1={weight}: a weight is a number from 0 up; 0 leaves the penalty out.")
        if interval < 1:
            raise UserError(
                f"loss.r1_interval={interval}: give a number of discriminator updates from 1 up, such as 16."
            )
        self.weight, self.interval = float(weight), interval

    def due(self, updates: int) -> bool:
        """Check whether the next update, after `updates` finished ones, includes the penalty."""
        return self.weight > 0 and (updates + 1) % self.interval == 0

    def __call__(self, discriminator: Callable[[Tensor], Tensor], hr: Tensor) -> Tensor:
        """Compute the weighted penalty, a scalar whose gradient reaches only the discriminator's weights.

        Args:
            discriminator: maps images to logits of any shape; each image has the same number of logits.
            hr: (B, 3, H, W) RGB in [0, 1].
        """
        hr = hr.detach().float().requires_grad_()
        # Second-order gradients vanish in half precision, and compiled graphs do not support them.
        with torch.autocast(hr.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
            (gradient,) = torch.autograd.grad(discriminator(hr).mean() * len(hr), hr, create_graph=True)
        return self.weight / 2 * self.interval * gradient.square().sum((1, 2, 3)).mean()
