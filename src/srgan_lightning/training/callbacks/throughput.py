"""Log training speed in images per second."""

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """A callback that logs `images_per_second` of all processes since the last log, without the time of validations.

    `earlier` is the run time in seconds up to the checkpoint that the run is resumed from.
    """

    def __init__(self) -> None:
        self.images, self.seconds, self.since = 0, 0.0, 0.0
        self.total_images, self.total_seconds = 0, 0.0
        self.started, self.earlier = time.perf_counter(), 0.0

    def _start_clock(self) -> None:
        self.since = time.perf_counter()

    def _stop_clock(self) -> None:
        self.seconds += time.perf_counter() - self.since

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start_clock()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:  # the sanity check runs before the clock starts
            self._stop_clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._start_clock()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.images += len(batch["hr"]) * trainer.world_size
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if (trainer.fit_loop.total_batch_idx + 1) % every == 0:
            self._stop_clock()
            # A tensor on the CPU, because Lightning would copy a float to the device.
            rate = torch.tensor(self.images / max(self.seconds, 1e-9))
            pl_module.log("images_per_second", rate)
            self._add_to_total()
            self._start_clock()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_clock()
        self._add_to_total()

    def _add_to_total(self) -> None:
        self.total_images, self.total_seconds = self.total_images + self.images, self.total_seconds + self.seconds
        self.images, self.seconds = 0, 0.0

    def state_dict(self) -> dict[str, float]:
        whole = self.earlier + time.perf_counter() - self.started
        return {"images": self.total_images, "seconds": self.total_seconds, "whole_seconds": whole}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.total_images, self.total_seconds = int(state_dict["images"]), state_dict["seconds"]
        self.earlier = state_dict["whole_seconds"]

    @property
    def mean(self) -> float:
        """Mean images per second of the whole training."""
        return self.total_images / max(self.total_seconds, 1e-9)
