"""Handle NaN and infinite gradients: skip updates, roll back, stop."""

from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from srgan_lightning.runs.layout import LAST
from srgan_lightning.training.callbacks.health_log import log_health
from srgan_lightning.training.callbacks.snapshot import Snapshot, scale_learning_rates
from srgan_lightning.utils.errors import UserError

#: Attributes of `NonFinite` by their keys in checkpoints. The keys are still those of release 0.1.0.
SAVED = {"skipped": "skipped", "in_a_row": "consecutive_skips", "rolled_back": "rolled_back"}


class NonFinite(Callback):
    """A callback that keeps NaN and infinity out of weights, optimisers, BatchNorm statistics and EMA.

    It checks the gradients, in which every fault of data, losses or weights appears. Under DDP the gradients are
    averages over all processes, so all processes decide alike without communication.

    1. An optimiser with non-finite gradients does not step. If the discriminator's optimiser does not step, the
       generator's does not either. The update counts for steps and schedules, but changes nothing: BatchNorm statistics
       are restored too. If the fault is only in the generator's losses, the discriminator has already made its valid
       update. A fused discriminator optimiser skips its step on the device, so the host waits for the device only once
       per update.
    2. After `skips` skipped updates in a row, everything is rolled back to the last good state, and all learning rates
       are lowered. A state is good if the gradients computed from it were finite.
    3. After `rollbacks` rollbacks, training stops in the last good state, which is validated and saved as usual.
       `failure` gives the reason.

    A resumed run continues the counts of skips and rollbacks. Its first good state is the checkpoint.

    With 16-mixed, infinite gradients are usual: the gradient scaler then skips only the step of that optimiser, and
    lowers its scale. So a single skipped update gives no warning, but `skips` in a row still lead to a rollback.

    Args:
        skips: number of skipped updates in a row before a rollback.
        rollbacks: maximum number of rollbacks in a run; 0 stops instead of the first rollback.
        factor: factor for the learning rates at every rollback.
        snapshot_interval: updates between copies of a good state. A copy has weights and optimisers, in CPU memory.

    Raises:
        UserError: a number is out of its range.
    """

    def __init__(self, skips: int = 10, rollbacks: int = 3, factor: float = 0.5, snapshot_interval: int = 500) -> None:
        if skips < 1 or rollbacks < 0 or snapshot_interval < 1 or not 0 < factor <= 1:
            raise UserError(
                f"callbacks.nonfinite: skips={skips}, rollbacks={rollbacks}, factor={factor}, snapshot_interval="
                f"{snapshot_interval}: give skips and snapshot_interval from 1, rollbacks from 0, and a factor in "
                "(0, 1]."
            )
        self.skips, self.rollbacks, self.factor, self.snapshot_interval = skips, rollbacks, factor, snapshot_interval
        self.skipped, self.consecutive_skips, self.rolled_back = 0, 0, 0
        self.failure: str | None = None
        self._start_update()

    def _start_update(self) -> None:
        self.at_update_start, self.bad_gradients, self.update_complete = True, False, False
        self.finite: list[Tensor] = []  # per optimiser of this update: whether its gradients are finite
        self.candidate: Snapshot | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.last_good = Snapshot(trainer, pl_module)
        self.bn_buffers = list(pl_module.buffers())
        self.bn_backup = [buffer.clone() for buffer in self.bn_buffers]

    @torch.no_grad()
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self.at_update_start:  # gradients are accumulating
            return
        self.at_update_start = False
        if self.bn_buffers:  # a network without BatchNorm may have none
            torch._foreach_copy_(self.bn_backup, self.bn_buffers)
        if trainer.global_step - self.last_good.step >= self.snapshot_interval and not self.consecutive_skips:
            self.candidate = Snapshot(trainer, pl_module)

    @torch.no_grad()
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.finite.append(get_total_norm(gradients).isfinite())
        finite = torch.stack(self.finite).all()  # after bad gradients, no later optimiser steps
        scaled = _scaler(trainer) is not None
        last = optimizer is trainer.optimizers[0]  # the generator's step ends an update
        if not last and not scaled and optimizer.defaults.get("fused"):
            optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]  # torch.amp's way to skip a fused step
            return
        self.bad_gradients = self.bad_gradients or not bool(finite)
        if self.bad_gradients and not scaled:
            optimizer.zero_grad()  # without gradients, a step changes neither weights nor moments
        if last:
            self.update_complete = True
            if self.bad_gradients and self.bn_buffers:
                torch._foreach_copy_(self.bn_buffers, self.bn_backup)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self.update_complete:
            return
        if self.bad_gradients:
            self.consecutive_skips, self.skipped = self.consecutive_skips + 1, self.skipped + 1
            if self.consecutive_skips == 1 and _scaler(trainer) is None:
                words = f"skipped, because {_cause(trainer, batch)}. The weights are unchanged."
                log_health(trainer, "update skipped", words)
            if self.consecutive_skips == self.skips:
                self._go_back(trainer, pl_module, batch)
        else:
            self.consecutive_skips = 0
            self.last_good = self.candidate or self.last_good
        if self.skipped:
            counts = {"health/skipped": float(self.skipped), "health/rollbacks": float(self.rolled_back)}
            cast(dict[str, float], pl_module.latest).update(counts)
        self._start_update()

    def state_dict(self) -> dict[str, int]:
        return {key: getattr(self, field) for key, field in SAVED.items()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        for key, field in SAVED.items():
            setattr(self, field, state_dict[key])

    def _go_back(self, trainer: Trainer, pl_module: LightningModule, batch: Any) -> None:
        self.last_good.restore(trainer, pl_module)
        self.consecutive_skips = 0
        row = f"{self.skips} updates in a row were not finite"
        if self.rolled_back == self.rollbacks:
            self.failure = (
                f"Training stopped at update {trainer.global_step}: {row}, after {self.rollbacks} rollbacks with lower "
                f"learning rates, because {_cause(trainer, batch)}. The last good state, of update "
                f"{self.last_good.step}, is saved as {LAST}. Lower model.generator_optimizer.lr and "
                "model.discriminator_optimizer.lr, clip gradients (model.generator_clip=1; for model=srresnet "
                "trainer.gradient_clip_val=1), or use trainer.precision=32-true."
            )
            log_health(trainer, "training stopped", self.failure)
            trainer.should_stop = True
            return
        self.rolled_back += 1
        scale_learning_rates(trainer, self.factor)
        rates = " and ".join(f"{optimizer.param_groups[0]['lr']:.3g}" for optimizer in trainer.optimizers)
        log_health(
            trainer,
            "rollback",
            f"{row}, because {_cause(trainer, batch)}. Continuing from the state of update {self.last_good.step} with "
            f"learning rates of {rates} ({self.factor} times; rollback {self.rolled_back} of {self.rollbacks}).",
        )


def _scaler(trainer: Trainer) -> Any:
    return getattr(trainer.precision_plugin, "scaler", None)


def _cause(trainer: Trainer, batch: dict[str, Tensor]) -> str:
    """Describe the earliest values that are not finite: training images, losses, or only gradients."""
    finite = batch["lr"].isfinite().flatten(1).all(1) & batch["hr"].isfinite().flatten(1).all(1)
    if not finite.all():
        images = ", ".join(str(index) for index in batch["index"][~finite].tolist())
        return f"the training images with the indices {images} have NaN or infinity"
    values = cast(dict[str, Tensor], trainer.lightning_module.values)
    losses = [f"{name}={float(v)}" for name, v in values.items() if name.startswith("loss/") and not v.isfinite()]
    if losses:
        return f"of the losses {', '.join(losses)}"
    others = " of this process" if trainer.world_size > 1 else ""
    return f"gradients were NaN or infinite, though images and losses{others} were not (too high a learning rate?)"
