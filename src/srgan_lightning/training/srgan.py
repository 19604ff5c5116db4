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
from srgan_lightning.training.discriminator_file import describe_discriminator, load_discriminator_weights
from srgan_lightning.training.module import Batch, OptimizerFactory, SuperResolutionModule
from srgan_lightning.training.schedules import SchedulerFactory, make_schedule
from srgan_lightning.training.turns import Turns


class SRGAN(SuperResolutionModule):
    """Manual optimisation, discriminator first, then generator, with one generator forward for both.

    `global_step`, and with it `trainer.max_steps`, checkpoints, schedules and logs, counts generator updates alone.

    Args:
        generator: see `SuperResolutionModule`, as for all that is not named here.
        discriminator: judges HR and SR: maps (B, 3, H, W) to logits of any shape, one an image or one a pixel.
        loss: the generator's loss; its adversarial kind also gives the discriminator's.
        generator_optimizer: makes the generator's optimiser.
        discriminator_optimizer: makes the discriminator's.
        generator_scheduler: schedule of the generator's rate, stepped per generator update.
        discriminator_scheduler: the same for the discriminator's.
        generator_clip: largest norm of the generator's gradient; None does not clip.
        discriminator_clip: the same for the discriminator's.
        accumulate_grad_batches: batches whose gradients are averaged into one update of each network.
        init_from: weights to start from, stage one's as a rule: a file, or the name of a bundled model.
        channels_last: memory format.
        compile: run the networks through torch.compile.
        discriminator_augment: policies of `DiffAugment`, which alters HR and SR before the discriminator.
        discriminator_init_from: weights that the discriminator starts from, see `load_discriminator_weights`.
        discriminator_updates: updates of the discriminator for one of the generator, see `Turns`.
        discriminator_interval: generator updates from one with the discriminator's to the next.
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
        self.discriminator_paused = False  # by `Balance`; then it judges, and is not trained
        self.synced: str | None = None  # see `PerNetworkDDP`

    def trained_networks(self) -> Iterator[nn.Module]:
        yield from super().trained_networks()
        yield self.discriminator

    @property
    def accumulating(self) -> bool:
        return self.turns.taken > 0  # across the ends of epochs too

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
            sr = self(lr)  # outside of toggling: its graph must reach the generator
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
            self.optimizers()[0].step()  # type: ignore[index]  # this one counts
            generator_optimizer.zero_grad()
            self._step_schedules()
            self.turns.taken = 0

        for name, optimizer in zip(("generator", "discriminator"), self.trainer.optimizers, strict=True):
            values[f"lr/{name}"] = optimizer.param_groups[0]["lr"]
        self.keep_values(values)

    def _train_discriminator(self, hr: Tensor, sr: Tensor, update: bool) -> dict[str, Tensor | float]:
        """Send the loss on HR and SR back through the discriminator, and step it on `update`; gives what is logged."""
        real, fake = self._judge(hr), self._judge(sr)
        loss = logged = self.loss.gan.discriminator(real, fake)
        if self.loss.r1.due(self.discriminator_steps):
            penalty = self.loss.r1(self._judge, hr)
            self.log("health/r1", penalty.detach() / self.loss.r1.interval)  # until the next one
            loss = loss + penalty
        self._backward("discriminator", loss, update)
        if update:
            self._step_discriminator(self.trainer.optimizers[1])
            self.discriminator_steps += 1
        return {"loss/discriminator": logged, **self._opinion(real.detach(), fake.detach())}

    def _step_schedules(self) -> None:
        """Step both schedules, which count generator updates, also those before the discriminator's first."""
        waits = self.global_step == 1 and self.discriminator_steps == 0
        # torch warns of a schedule whose first step comes before its optimiser's.
        with warnings.catch_warnings(action="ignore", category=UserWarning) if waits else nullcontext():
            for config in self.trainer.lr_scheduler_configs:
                config.scheduler.step()  # type: ignore[call-arg]

    def _opinion(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """What is logged of the logits of HR and SR."""
        return dict(zip(("d_real", "d_fake"), self.loss.gan.probabilities(real, fake), strict=True))

    def _judge(self, images: Tensor) -> Tensor:
        """Logits of images, as the discriminator is shown them."""
        logits: Tensor = self.discriminator(images if self.augment is None else self.augment(images))
        return logits

    def _backward(self, network: str, loss: Tensor, update: bool) -> None:
        self.synced = network if update else None
        # The forward pass has chosen each type: autocast here would send what is float32 through half precision.
        with torch.autocast(self.device.type, enabled=False):
            self.manual_backward(loss / self.accumulate_grad_batches)

    def _step_discriminator(self, optimizer: Optimizer) -> None:
        # That of 16-mixed may change its scale in any step.
        scaler: Any = getattr(self.trainer.precision_plugin, "scaler", None)
        waiting = [p.grad for p in self.generator.parameters() if p.grad is not None] if scaler else []
        before = scaler.get_scale() if waiting else 1.0
        # Through the strategy and not LightningOptimizer.step, whose every call counts into global_step.
        self.trainer.strategy.optimizer_step(optimizer, closure=lambda: None)
        optimizer.zero_grad()
        if waiting:  # the update's last batch adds to these, and one scale holds for their sum
            torch._foreach_mul_(waiting, scaler.get_scale() / before)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        # Lightning calls this after the scaler of 16-mixed has unscaled the gradients: the place to clip them.
        network = self.generator if optimizer is self.trainer.optimizers[0] else self.discriminator
        limit = self.clips[0 if network is self.generator else 1]
        if limit is not None:
            clip_grad_norm_(network.parameters(), limit)
