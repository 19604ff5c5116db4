"""Watches a training for what goes wrong in GANs without any error, and says it in words."""

import math
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from srgan_lightning.errors import UserError
from srgan_lightning.training.callbacks.health_log import tell
from srgan_lightning.training.faults import game_faults, network_faults, term_faults


class Health(Callback):
    """Measures one update out of `interval`, logs it under `health/` and warns of what it finds, once until it clears.

    `health/gradient_<term>` is the norm of the gradient that a weighted loss term sends into SR, the generator's
    output: for each a backward pass through the discriminator or VGG, but none through the generator.
    `health/update_<network>` is the norm of an update over that of the weights. D(HR) and D(SR) are `d_real` and
    `d_fake` as logged. The training itself is not touched: its weights are the same bit for bit.

    Args:
        interval: updates from one measurement to the next.
        patience: updates for which the discriminator may win before it is said.

    Raises:
        UserError: a number out of its range; a network that is trained has no weight that could be.
    """

    def __init__(self, interval: int = 50, patience: int = 500) -> None:
        if interval < 1 or patience < 0:
            raise UserError(
                f"callbacks.health: interval={interval}, patience={patience}: give interval from 1, patience from 0."
            )
        self.interval, self.patience = interval, patience
        self.before: dict[str, list[Tensor]] = {}  # the networks' weights, while an update is measured
        self.rates: dict[str, float] = {}
        self.gradients: dict[str, Tensor] = {}
        self.since: dict[str, int] = {}
        self.told: set[str] = set()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = cast(nn.Module, pl_module.loss)
        names = ["generator"] + ["discriminator"] * bool(loss.weights["adversarial"])  # type: ignore[index]
        self.networks = {name: cast(nn.Module, getattr(pl_module, name)) for name in names}
        for name, network in self.networks.items():
            if not any(parameter.requires_grad for parameter in network.parameters()):
                raise UserError(
                    f"The {name} is frozen: none of its weights has requires_grad, so it cannot learn. Unfreeze it, or "
                    "leave the adversarial term out with loss.adversarial=0."
                )
        self.scaler = getattr(trainer.precision_plugin, "scaler", None)
        self.hook = loss.register_forward_hook(self._measure_terms)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.hook.remove()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.update = trainer.global_step + 1
        if self.update % self.interval == 0 and not self.before:  # else gradients accumulate
            self.before = {name: [p.detach().clone() for p in net.parameters()] for name, net in self.networks.items()}
            groups = [optimizer.param_groups[0] for optimizer in trainer.optimizers[: len(self.networks)]]
            self.rates = {name: float(group["lr"]) for name, group in zip(self.networks, groups, strict=True)}

    def _measure_terms(self, loss: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        if self.before:
            self.gradients = {name: self._gradient_norm(term, inputs[0]) for name, term in output[1].items()}

    def _gradient_norm(self, term: Tensor, sr: Tensor) -> Tensor:
        if not (term.requires_grad and sr.requires_grad):
            return sr.new_zeros(())
        # Half precision needs the scaled loss here too, or small gradients vanish on their way through VGG.
        scale: float = self.scaler.get_scale() if self.scaler else 1.0
        (gradient,) = torch.autograd.grad(scale * term, sr, retain_graph=True, allow_unused=True)
        return sr.new_zeros(()) if gradient is None else get_total_norm([gradient.float()]) / scale

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self.before or trainer.global_step < self.update:
            return
        measured = {f"health/gradient_{name}": norm for name, norm in self.gradients.items()}
        for name, network in self.networks.items():
            moves = torch._foreach_sub(list(network.parameters()), self.before[name])
            measured[f"health/update_{name}"] = get_total_norm(moves) / get_total_norm(self.before[name])
        self.before = {}
        pl_module.log_dict(measured)
        if "discriminator" in self.networks:
            step = cast(dict[str, Tensor], pl_module.values)
            measured |= {name: step[name] for name in ("d_real", "d_fake")}
        values = torch.stack([value.float() for value in measured.values()]).tolist()  # a GPU is waited for once
        if all(math.isfinite(value) for value in values):  # what is not is `NonFinite`'s
            self._judge(trainer, dict(zip(measured, values, strict=True)))

    def state_dict(self) -> dict[str, Any]:
        return {"since": self.since, "told": sorted(self.told)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.since, self.told = dict(state_dict["since"]), set(state_dict["told"])

    def _judge(self, trainer: Trainer, values: dict[str, float]) -> None:
        updates = {name: values[f"health/update_{name}"] for name in self.networks}
        gradients = {name: values[f"health/gradient_{name}"] for name in self.gradients}
        faults = [*network_faults(self.rates, updates, self.interval), *term_faults(gradients, self.interval)]
        if "discriminator" in self.networks:
            faults += game_faults(values["d_real"], values["d_fake"], self.patience)
        now = {fault.name for fault in faults}
        self.since = {name: self.since.get(name, self.update) for name in now}
        self.told &= now
        for fault in faults:
            if self.update - self.since[fault.name] >= fault.patience and fault.name not in self.told:
                self.told.add(fault.name)
                tell(trainer, fault.words)
