"""Detect problems of GAN training that raise no error, and log advice."""

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from srgan_lightning.training.callbacks.health_log import log_health
from srgan_lightning.training.callbacks.health_rules import (
    Fault,
    discriminator_faults,
    discriminator_wins,
    network_faults,
    term_faults,
)
from srgan_lightning.training.callbacks.opinion import Opinion
from srgan_lightning.utils.errors import UserError


class Health(Callback):
    """A callback that measures every `interval`-th update, logs values under `health/`, and warns of problems.

    Each warning is given once, and again only if its problem disappeared in between. `health/gradient_<term>` is the
    norm of a weighted loss term's gradient with respect to SR. The adversarial term costs a backward pass through the
    discriminator, and the perceptual one through VGG; no term costs one through the generator.
    `health/update_<network>` is the norm of the change in one generator update divided by the norm of the weights. For
    the discriminator, this is the change by all of its `model.discriminator_updates`. `health/d_real` and
    `health/d_fake` are means of D(HR) and D(SR), see `Opinion`. Training is not affected: the weights are
    bit-identical with and without this callback.

    Args:
        interval: updates between measurements.
        patience: number of updates in which the discriminator must win most of the time before a warning.

    Raises:
        UserError: a number is out of its range, or a trained network has no weight that requires a gradient.
    """

    def __init__(self, interval: int = 50, patience: int = 200) -> None:
        if interval < 1 or patience < 0:
            raise UserError(
                f"callbacks.health: interval={interval}, patience={patience}: give an interval from 1, and a patience "
                "from 0."
            )
        self.interval, self.patience = interval, patience
        self.before: dict[str, list[Tensor]] = {}  # the weights before the measured update
        self.rates: dict[str, float] = {}
        self.gradients: dict[str, Tensor] = {}
        self.since: dict[str, int] = {}
        self.reported: set[str] = set()
        self.opinion = Opinion()
        # Whether the discriminator won at each measurement of the last `patience` updates, oldest first.
        self.wins: list[bool] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = cast(nn.Module, pl_module.loss)
        names = ["generator"] + ["discriminator"] * bool(loss.weights["adversarial"])  # type: ignore[index]
        self.networks = {name: cast(nn.Module, getattr(pl_module, name)) for name in names}
        for name, network in self.networks.items():
            if not any(parameter.requires_grad for parameter in network.parameters()):
                or_else = ", or turn the adversarial term off with loss.adversarial=0" * (name == "discriminator")
                raise UserError(
                    f"The {name} is frozen: none of its weights has requires_grad, so it cannot learn. "
                    f"Unfreeze it{or_else}."
                )
        # Drop `before` from the checkpoint if that run measured other networks, for example because it had no
        # adversarial term.
        kept = self.before if self.before.keys() == self.networks.keys() else {}
        self.before = {name: [weight.to(pl_module.device) for weight in weights] for name, weights in kept.items()}
        self.scaler = getattr(trainer.precision_plugin, "scaler", None)
        self.adversarial_kind = cast(Any, loss).gan.kind
        self.normalized = bool(cast(Any, loss).vgg.get("normalize"))
        self.hook = loss.register_forward_hook(self._measure_terms)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.hook.remove()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.update = trainer.global_step + 1
        if self.update % self.interval == 0 and not self.before:  # at the first batch of an update
            self.before = {name: [p.detach().clone() for p in net.parameters()] for name, net in self.networks.items()}
        if self.before:
            groups = [optimizer.param_groups[0] for optimizer in trainer.optimizers[: len(self.networks)]]
            self.rates = {name: float(group["lr"]) for name, group in zip(self.networks, groups, strict=True)}

    def _measure_terms(self, loss: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        if self.before:
            self.gradients = {name: self._gradient_norm(term, inputs[0]) for name, term in output[1].items()}

    def _gradient_norm(self, term: Tensor, sr: Tensor) -> Tensor:
        if not (term.requires_grad and sr.requires_grad):
            return sr.new_zeros(())
        # Half precision needs the scaled loss here too, because small gradients would vanish in VGG.
        scale: float = self.scaler.get_scale() if self.scaler else 1.0
        (gradient,) = torch.autograd.grad(scale * term, sr, retain_graph=True, allow_unused=True)
        return sr.new_zeros(()) if gradient is None else get_total_norm([gradient.float()]) / scale

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = cast(dict[str, Tensor], pl_module.values)
        if "d_real" in step:
            self.opinion.add(step["d_real"], step["d_fake"], len(batch["hr"]))
        if not self.before or trainer.global_step < self.update:
            return
        measured = {f"health/gradient_{name}": norm for name, norm in self.gradients.items()}
        # False before loss.adversarial_start, while the discriminator is paused, and between its updates.
        learned = "loss/discriminator" in step
        for name, network in self.networks.items():
            if name == "discriminator" and not learned:
                continue
            moves = torch._foreach_sub(list(network.parameters()), self.before[name])
            measured[f"health/update_{name}"] = get_total_norm(moves) / get_total_norm(self.before[name])
        self.before = {}
        if self.opinion.sums is not None:
            measured |= dict(zip(("health/d_real", "health/d_fake"), self.opinion.means(), strict=True))
        cast(dict[str, Tensor], pl_module.latest).update(measured)
        # Read all values together, to synchronise with the GPU only once.
        values = torch.stack([value.float() for value in measured.values()]).tolist()
        if all(math.isfinite(value) for value in values):  # `NonFinite` handles NaN and infinity
            self._judge(trainer, dict(zip(measured, values, strict=True)))

    def state_dict(self) -> dict[str, Any]:
        return {
            "since": self.since,
            "told": sorted(self.reported),
            "opinion": self.opinion.state(),
            "wins": self.wins,
            "before": self.before,  # empty, except within an accumulated update
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.since, self.reported = dict(state_dict["since"]), set(state_dict["told"])
        self.opinion.restore(state_dict.get("opinion"))  # absent from checkpoints of release 0.1.0
        self.wins = list(state_dict.get("wins", []))
        self.before = dict(state_dict.get("before", {}))

    def _discriminator_faults(self, real: float, fake: float) -> Iterator[Fault]:
        window = max(1, math.ceil(self.patience / self.interval))
        self.wins = [*self.wins, discriminator_wins(real, fake)][-window:]
        if len(self.wins) == window:
            yield from discriminator_faults(real, fake, sum(self.wins) / window, self.patience)

    def _judge(self, trainer: Trainer, values: dict[str, float]) -> None:
        updates = {name: values[key] for name in self.networks if (key := f"health/update_{name}") in values}
        rates = {name: self.rates[name] for name in updates}
        gradients = {name: values[f"health/gradient_{name}"] for name in self.gradients}
        faults = [
            *network_faults(rates, updates, self.interval),
            *term_faults(gradients, self.adversarial_kind, self.normalized, self.interval),
        ]
        if "health/d_real" in values:
            faults += self._discriminator_faults(values["health/d_real"], values["health/d_fake"])
        now = {fault.name for fault in faults}
        self.since = {name: self.since.get(name, self.update) for name in now}
        self.reported &= now
        for fault in faults:
            if self.update - self.since[fault.name] >= fault.patience and fault.name not in self.reported:
                self.reported.add(fault.name)
                log_health(trainer, fault.name, fault.words)
