"""A callback that observes a training run from the inside."""

from typing import Any

import lightning
from lightning import Callback
from torch import Tensor
from torch.nn.utils import get_total_norm

from srgan_lightning.training.callbacks import NonFinite


class Spy(Callback):
    """Observe a training run from the inside."""

    def __init__(self) -> None:
        self.module: Any = None
        self.start: dict[str, Tensor] = {}
        self.gradients: dict[str, list[float]] = {}  # norms as the backward pass leaves them
        self.stepped: dict[str, list[float]] = {}  # and as the optimiser gets them
        self.steps: list[int] = []
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.skipped = 0

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.module = pl_module
        self.start = {name: p.detach().clone() for name, p in pl_module.named_parameters()}
        if pl_module.loss.perceptual is not None:
            self.start |= {f"vgg.{name}": p.clone() for name, p in pl_module.loss.perceptual.named_parameters()}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        for name, optimizer in zip(("generator", "discriminator"), trainer.optimizers, strict=False):
            optimizer.register_step_post_hook(lambda *_, name=name: self._add_norm(self.stepped, name))

    def on_before_optimizer_step(self, trainer: lightning.Trainer, pl_module: Any, optimizer: Any) -> None:
        self._add_norm(self.gradients, "generator" if optimizer is trainer.optimizers[0] else "discriminator")

    def _add_norm(self, norms: dict[str, list[float]], network: str) -> None:
        gradients = [p.grad for p in getattr(self.module, network).parameters() if p.grad is not None]
        norms.setdefault(network, []).append(get_total_norm(gradients).item())

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *_: Any) -> None:
        self.steps.append(trainer.global_step)
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        if "loss/generator" in pl_module.values:  # not in a batch that updates only the discriminator
            self.losses.append(float(pl_module.values["loss/generator"]))
        self.skipped = next(c.skipped for c in trainer.callbacks if isinstance(c, NonFinite))  # type: ignore[attr-defined]
