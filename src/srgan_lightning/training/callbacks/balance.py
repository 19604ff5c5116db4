"""Pause the discriminator while it wins."""

from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from srgan_lightning.training.callbacks.health_log import log_health
from srgan_lightning.training.callbacks.opinion import Opinion
from srgan_lightning.training.process_mean import process_mean
from srgan_lightning.utils.errors import UserError


class Balance(Callback):
    """A callback that pauses the discriminator's updates while it wins, until the generator catches up.

    The measure is (1 + D(HR) - D(SR)) / 2, computed from the same running means as in `Health`. It is 0.5 if the
    discriminator cannot distinguish HR from SR, and 1 if it is always right and certain (D(HR) = 1, D(SR) = 0). Two
    thresholds avoid frequent switching. A paused discriminator still runs forward, for the generator's loss and for the
    measure.

    `health/discriminator_paused` (0 or 1) is logged, and each change is reported once.

    Args:
        pause_above: pause updates when the measure is above this, such as 0.9; None never pauses, and costs nothing.
        resume_below: resume updates when the measure is below this.
        interval: generator updates between decisions; each decision synchronises with the device.

    Raises:
        UserError: the thresholds are invalid, or there is no discriminator.
    """

    def __init__(self, pause_above: float | None = None, resume_below: float = 0.75, interval: int = 10) -> None:
        if interval < 1 or not 0 < resume_below <= (1 if pause_above is None else pause_above) <= 1:
            raise UserError(
                f"callbacks.balance: pause_above={pause_above}, resume_below={resume_below}, interval={interval}: give "
                "thresholds in (0, 1], a resume_below not above pause_above, and an interval from 1."
            )
        self.pause_above, self.resume_below, self.interval = pause_above, resume_below, interval
        self.paused = False
        self.opinion = Opinion()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.pause_above is None:
            return
        if not hasattr(pl_module, "discriminator"):
            raise UserError(
                f"callbacks.balance.pause_above={self.pause_above}: {type(pl_module).__name__} has no discriminator to "
                "pause. Set model=srgan, or remove the option."
            )
        pl_module.discriminator_paused = self.paused  # type: ignore[assignment]

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.pause_above is None:
            return
        step = cast(dict[str, Tensor], pl_module.values)
        if "d_real" in step:
            self.opinion.add(step["d_real"], step["d_fake"], len(batch["hr"]))
        if pl_module.accumulating or trainer.global_step % self.interval or self.opinion.sums is None:
            return  # pausing within an update would leave accumulated gradients unused
        # With the mean over all processes, all of them decide alike.
        self.opinion.sums = process_mean(trainer, {"opinion": self.opinion.sums})["opinion"]
        real, fake = self.opinion.means().tolist()
        measure = (1 + real - fake) / 2
        paused = measure > self.pause_above or (self.paused and measure >= self.resume_below)
        cast(dict[str, float], pl_module.latest)["health/discriminator_paused"] = float(paused)
        if paused != self.paused:
            self.paused = pl_module.discriminator_paused = paused  # type: ignore[assignment]
            state = f"D(real)={real:.2f}, D(fake)={fake:.2f} on average, a measure of {measure:.2f}"
            if paused:
                words = f"the discriminator is paused, because it wins ({state}; callbacks.balance.pause_above="
                words += f"{self.pause_above}). The generator continues to train."
            else:
                words = f"the discriminator is trained again ({state}; callbacks.balance.resume_below="
                words += f"{self.resume_below})."
            log_health(trainer, f"discriminator {'paused' if paused else 'trained again'}", words)

    def state_dict(self) -> dict[str, Any]:
        return {"paused": self.paused, "opinion": self.opinion.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.paused = state_dict["paused"]
        self.opinion.restore(state_dict["opinion"])
