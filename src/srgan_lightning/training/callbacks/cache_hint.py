"""A hint for a training that decodes the same files again and again, and waits for them."""

import statistics
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

from srgan_lightning.runs.log import LOG

WARMUP, MEASURED = 10, 50  # batches: until the workers have filled their queue, and those whose waits count
WAITING = 0.2  # share of the time
EPOCHS = 5  # from which decoding all images once costs less than it saves


class CacheHint(Callback):
    """Names `data.cache=memmap` once, near the start, where the loop waits for data and no cache is used.

    Every `SuperResolutionModule` brings its own; it goes into no configuration. Medians are compared: on a GPU, a batch
    that is logged also waits for the device.
    """

    def __init__(self) -> None:
        self.ended: float | None = None  # the last batch
        self.waits: list[float] = []  # seconds from the end of a batch to the start of the next
        self.works: list[float] = []  # seconds from its start to its end
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
                self._speak(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ended = None  # its time is no wait for data

    def _speak(self, trainer: Trainer) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        if not offers_cache(data) or epochs_left(trainer) < EPOCHS:
            return
        wait, work = (statistics.median(seconds[WARMUP:] or [0.0]) for seconds in (self.waits, self.works))
        if wait >= WAITING * (wait + work):
            LOG.info(
                "Waiting for data takes %.0f%% of the time, and the same images are decoded in every epoch: "
                "data.cache=memmap decodes them once, also for this run when it is resumed with ckpt_path=last.",
                100 * wait / (wait + work),
            )


def offers_cache(data: Any) -> bool:
    """Whether a data module reads files that it could keep decoded, and does not."""
    return getattr(data, "cacheable", False) and data.cache is None


def epochs_left(trainer: Trainer) -> float:
    """Epochs from here to the end of the training; infinite where nothing but time ends it."""
    batches = trainer.num_training_batches
    ends = []
    if trainer.max_steps > 0:
        ends.append((trainer.max_steps - trainer.global_step) / max(batches, 1))
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        ends.append(trainer.max_epochs - trainer.current_epoch)
    return min(ends, default=float("inf"))
