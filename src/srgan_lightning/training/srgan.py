"""Stage two: generator against discriminator (Ledig et al. 2017, sections 2.2 and 3.2)."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from srgan_lightning.losses import GeneratorLoss
from srgan_lightning.networks import DiffAugment
from srgan_lightning.networks.contract import SRModule
from srgan_lightning.training.autocast_cache import shared_casts
from srgan_lightning.training.discriminator_file import describe_discriminator, load_discriminator_weights
from srgan_lightning.training.module import Batch, OptimizerFactory, SuperResolutionModule
from srgan_lightning.training.schedules import SchedulerFactory, make_schedule
from srgan_lightning.training.turns import Turns


class SRGAN(SuperResolutionModule):
    """Adversarial training, with manual optimisation.

    If both networks learn from a batch (see `Turns`), the discriminator learns first. Both use the same forward pass of
    the generator.

    `global_step` counts only generator updates. So do `trainer.max_steps`, checkpoints, schedules and logs.

    Args:
        generator: see `SuperResolutionModule`.
        discriminator: maps (B, 3, H, W) to logits of any shape, one per image or one per pixel.
        loss: the generator's loss; its adversarial kind also sets the discriminator's loss.
        generator_optimizer: makes the generator's optimiser.
        discriminator_optimizer: makes the discriminator's optimiser.
        generator_scheduler: makes the schedule of the generator's learning rate, stepped once per generator update.
        discriminator_scheduler: makes the schedule of the discriminator's learning rate, also stepped once per
            generator update.
        generator_clip: largest norm of the generator's gradient; None does not clip.
        discriminator_clip: largest norm of the discriminator's gradient; None does not clip.
        accumulate_grad_batches: number of batches whose gradients are averaged for one update of each network.
        init_from: initial generator weights, usually from stage one; see `SuperResolutionModule`.
        channels_last: see `SuperResolutionModule`.
        compile: see `SuperResolutionModule`.
        discriminator_augment: policies of `DiffAugment` for HR and SR before the discriminator.
        discriminator_init_from: initial discriminator weights, see `load_discriminator_weights`.
        discriminator_updates: discriminator updates per generator update, see `Turns`.
        discriminator_interval: generator updates per discriminator update, see `Turns`.
    """

    def __init__(
        self,
        generator: SRModule,
        discriminator: nn.Module,
        loss: GeneratorLoss,
        generator_optimizer: OptimizerFactory,
        discriminator_optimizer: OptimizerFactory,
        generator_scheduler: SchedulerFactory | None = None,
        discriminator_scheduler: SchedulerFactory | None = None,
        generator_clip: float | None = None,
        discriminator_clip: float | None = None,
        accumulate_grad_batches: int = 1,
        init_from: str | None = None,
        channels_last: bool = True,
        compile: bool | str = False,
        discriminator_augment: Sequence[str] = (),
        discriminator_init_from: str | None = None,
        discriminator_updates: int = 1,
        discriminator_interval: int = 1,
    ) -> None:
        super().__init__(generator, loss, generator_optimizer, generator_scheduler, init_from, channels_last, compile)
        self.automatic_optimization = False
        self.discriminator = discriminator
        if discriminator_init_from is not None:
            load_discriminator_weights(discriminator, discriminator_init_from)
        self.augment = DiffAugment(discriminator_augment) if discriminator_augment else None
        self.discriminator_optimizer_factory = discriminator_optimizer
        self.discriminator_scheduler_factory = discriminator_scheduler
        self.clips = (generator_clip, discriminator_clip)
        self.accumulate_grad_batches = accumulate_grad_batches
        self.turns = Turns(accumulate_grad_batches, discriminator_updates, discriminator_interval)
        self.discriminator_steps = 0
        self.discriminator_paused = False  # set by `Balance`: the discriminator runs, but is not trained
        self.synced: str | None = None  # see `PerNetworkDDP`

    def trained_networks(self) -> Iterator[nn.Module]:
        yield from super().trained_networks()
        yield self.discriminator

    @property
    def accumulating(self) -> bool:
        return self.turns.taken > 0  # an accumulation may span two epochs

    @property
    def updates_per_epoch(self) -> float:
        """The number of generator updates per epoch while the discriminator is trained; may be a fraction."""
        return self.trainer.num_training_batches / (self.turns.batches * self.turns.updates)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["accumulated"] = self.turns.taken
        checkpoint["discriminator_steps"] = self.discriminator_steps
        checkpoint["discriminator"] = describe_discriminator(self.discriminator)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.turns.taken = checkpoint.get("accumulated", 0)
        # Release 0.1.0 updated both networks together.
        self.discriminator_steps = checkpoint.get("discriminator_steps", checkpoint["global_step"])

    def configure_optimizers(self) -> Any:
        optimizers = [
            self.make_optimizer(self.optimizer_factory, self.generator),
            self.make_optimizer(self.discriminator_optimizer_factory, self.discriminator),
        ]
        factories = (self.scheduler_factory, self.discriminator_scheduler_factory)
        names = ("model.generator_scheduler", "model.discriminator_scheduler")
        schedulers = [
            make_schedule(factory, optimizer, name)
            for factory, optimizer, name in zip(factories, optimizers, names, strict=True)
            if factory is not None
        ]
        return optimizers, schedulers

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        lr, hr = batch["lr"], batch["hr"]
        generator_optimizer = self.trainer.optimizers[0]
        self.loss.updates = self.global_step
        playing = self.loss.adversarial_weight > 0
        turn = self.turns.take(self.global_step, playing and not self.discriminator_paused)
        values: dict[str, Tensor | float] = {}

        with torch.set_grad_enabled(turn.generator_learns):
            sr = self(lr)  # before the discriminator's turn, because both networks use this SR
        if turn.discriminator_learns:
            values |= self._train_discriminator(hr, sr.detach(), turn.discriminator_updates)
        elif playing and self.discriminator_paused:
            with torch.no_grad():
                values |= self._opinion(self._judge(hr), self._judge(sr.detach()))
        if turn.generator_learns:
            with self.toggled_optimizer(generator_optimizer):  # no gradients for the discriminator's parameters
                logits = [self._judge(sr)] if playing else []
                if playing and self.loss.gan.relativistic:
                    with torch.no_grad():
                        logits.append(self._judge(hr))
                loss, terms = self.loss(sr, hr, *logits)
                self._backward("generator", loss, turn.generator_updates)
            values |= {"loss/generator": loss, **{f"loss/{name}": term for name, term in terms.items()}}
        if turn.generator_updates:
            # The step of LightningOptimizer, so that `global_step` counts it.
            self.optimizers()[0].step()  # type: ignore[index]
            generator_optimizer.zero_grad()
            self._step_schedules()
            self.turns.taken = 0

        for name, optimizer in zip(("generator", "discriminator"), self.trainer.optimizers, strict=True):
            values[f"lr/{name}"] = optimizer.param_groups[0]["lr"]
        self.keep_values(values)

    def _train_discriminator(self, hr: Tensor, sr: Tensor, update: bool) -> dict[str, Tensor | float]:
        """Backpropagate the loss on HR and SR through the discriminator; step if `update`. Return values to log."""
        with shared_casts(self.device):
            real, fake = self._judge(hr), self._judge(sr)
        loss = logged = self.loss.gan.discriminator(real, fake)
        if self.loss.r1.due(self.discriminator_steps):
            penalty = self.loss.r1(self._judge, hr)
            self.latest["health/r1"] = penalty.detach() / self.loss.r1.interval
            loss = loss + penalty
        self._backward("discriminator", loss, update)
        if update:
            self._step_discriminator(self.trainer.optimizers[1])
            self.discriminator_steps += 1
        return {"loss/discriminator": logged, **self._opinion(real.detach(), fake.detach())}

    def _step_schedules(self) -> None:
        """Step both schedules at every generator update, also before the discriminator's first update."""
        waits = self.global_step == 1 and self.discriminator_steps == 0
        # torch warns if a schedule steps before its optimiser.
        with warnings.catch_warnings(action="ignore", category=UserWarning) if waits else nullcontext():
            for config in self.trainer.lr_scheduler_configs:
                config.scheduler.step()  # type: ignore[call-arg]

    def _opinion(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the discriminator's mean probabilities for HR and SR, for the logs."""
        return dict(zip(("d_real", "d_fake"), self.loss.gan.probabilities(real, fake), strict=True))

    def _judge(self, images: Tensor) -> Tensor:
        """Return the discriminator's logits of augmented images."""
        logits: Tensor = self.discriminator(images if self.augment is None else self.augment(images))
        return logits

    def _backward(self, network: str, loss: Tensor, update: bool) -> None:
        self.synced = network if update else None
        # The forward pass has chosen each dtype. Autocast here would run float32 parts in half precision.
        with torch.autocast(self.device.type, enabled=False):
            self.manual_backward(loss / self.accumulate_grad_batches)

    def _step_discriminator(self, optimizer: Optimizer) -> None:
        # The scaler of 16-mixed may change its scale in any step.
        scaler: Any = getattr(self.trainer.precision_plugin, "scaler", None)
        waiting = [p.grad for p in self.generator.parameters() if p.grad is not None] if scaler else []
        before = scaler.get_scale() if waiting else 1.0
        # Not by LightningOptimizer.step, because every call of it increments global_step.
        self.trainer.strategy.optimizer_step(optimizer, closure=lambda: None)
        optimizer.zero_grad()
        if waiting:  # accumulated generator gradients must all have the same scale
            torch._foreach_mul_(waiting, scaler.get_scale() / before)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        # Clip here, because Lightning calls this after the scaler of 16-mixed has unscaled the gradients.
        network = self.generator if optimizer is self.trainer.optimizers[0] else self.discriminator
        limit = self.clips[0 if network is self.generator else 1]
        if limit is not None:
            clip_grad_norm_(network.parameters(), limit)
