"""Suggest the image cache if training waits for data."""

import statistics
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

from srgan_lightning.runs.log import LOG

WARMUP, MEASURED = 10, 50  # batches until the workers have filled their queue, and measured batches after these
WAITING = 0.2  # smallest share of the time spent waiting for data at which the cache is suggested
PASSES = 5  # smallest number of remaining passes over the images for which decoding all images once saves time


class CacheHint(Callback):
    """A callback that suggests `data.cache=memmap` once, near the start, if the loop waits for data without a cache.

    `SuperResolutionModule` adds it, so it is not in configurations. Medians are compared, because on a GPU a batch that
    is logged also waits for the device.
    """

    def __init__(self) -> None:
        self.ended: float | None = None  # end of the last batch
        self.waits: list[float] = []  # seconds from the end of a batch to the start of the next
        self.works: list[float] = []  # seconds from the start of a batch to its end
        self.started = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.started = time.perf_counter()
        if self.ended is not None and len(self.waits) < WARMUP + MEASURED:
            self.waits.append(self.started - self.ended)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.ended = time.perf_counter()
        if len(self.works) < WARMUP + MEASURED:
            self.works.append(self.ended - self.started)
            if len(self.works) == WARMUP + MEASURED and trainer.is_global_zero:
                self._speak(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ended = None  # the time of a validation does not count as waiting for data

    def _speak(self, trainer: Trainer, module: Any) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        if not offers_cache(data) or epochs_left(trainer, module) * data.repeats < PASSES:
            return
        wait, work = (statistics.median(seconds[WARMUP:] or [0.0]) for seconds in (self.waits, self.works))
        if wait >= WAITING * (wait + work):
            LOG.info(
                "Waiting for data takes %.0f%% of the time, and the same images are decoded in every pass. Set "
                "data.cache=memmap to decode them only once. You can also set it when you resume this run with "
                "ckpt_path=last.",
                100 * wait / (wait + work),
            )


def offers_cache(data: Any) -> bool:
    """Check whether a data module could use a cache, but does not."""
    return getattr(data, "cacheable", False) and data.cache is None


def epochs_left(trainer: Trainer, module: Any) -> float:
    """Return the number of epochs left; infinite if neither updates nor epochs are limited.

    Args:
        trainer: the trainer, in its training.
        module: the `SuperResolutionModule` that it trains.
    """
    ends = []
    if trainer.max_steps > 0:
        ends.append((trainer.max_steps - trainer.global_step) / module.updates_per_epoch)
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        ends.append(trainer.max_epochs - trainer.current_epoch)
    return min(ends, default=float("inf"))
