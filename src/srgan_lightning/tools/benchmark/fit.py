"""Measure `Trainer.fit` against the bare step: the cost of loop, callbacks, logs and loader."""

import statistics
from collections.abc import Callable

import lightning
import torch
from lightning import Callback
from lightning.pytorch.profilers import SimpleProfiler
from omegaconf import DictConfig

from srgan_lightning.tools.benchmark.setup import build_module, with_bare_step
from srgan_lightning.tools.benchmark.timing import Result, clock, result
from srgan_lightning.training.build import build_data
from srgan_lightning.training.trainer import build_trainer

WARMUP = 3  # untimed batches, until workers run, the queue is full and everything is compiled
#: Name under which Lightning's profiler records how long the loop waits for a batch.
FETCH = "[_TrainingEpochLoop].train_dataloader_next"


class _Stopwatch(Callback):
    """A callback that measures the time between the ends of two batches."""

    def __init__(self, device: torch.device, first: int, last: int) -> None:
        self.device, self.ends = device, (first, last)
        self.times: dict[int, float] = {}

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.global_step in self.ends and trainer.global_step not in self.times:
            self.times[trainer.global_step] = clock(self.device)

    @property
    def seconds(self) -> float:
        first, last = self.ends
        return self.times[last] - self.times[first]


def fit(cfg: DictConfig, device: torch.device, steps: int, rounds: int) -> Result:
    """Measure `Trainer.fit` with all callbacks and loggers, alternating with equally many bare steps.

    Args:
        cfg: the configuration of the experiment.
        device: the device.
        steps: updates per timed run, without validation.
        rounds: number of timed runs of `Trainer.fit`, and of the bare steps.

    Returns:
        Images per second; `overhead`, the extra time relative to that of the bare steps; and `waited_for_data`, the
        share of the time in which the loop waited for data.
    """
    module, data = build_module(cfg), build_data(cfg)
    cfg.trainer.limit_val_batches = 0
    cfg.trainer.max_steps, cfg.trainer.max_epochs = WARMUP + steps, -1
    waits: list[float] = []

    def whole() -> float:
        module, data = build_module(cfg), build_data(cfg)
        trainer = build_trainer(cfg, manual=not module.automatic_optimization)
        profiler, watch = SimpleProfiler(), _Stopwatch(device, WARMUP, WARMUP + steps)
        trainer.profiler = profiler  # type: ignore[attr-defined]
        trainer.callbacks.append(watch)  # type: ignore[attr-defined]
        trainer.fit(module, data)
        waits.append(sum(profiler.recorded_durations[FETCH][WARMUP : WARMUP + steps]) / watch.seconds)
        return watch.seconds

    def work(step: Callable[[], None]) -> dict[str, list[float]]:
        seconds: dict[str, list[float]] = {"ours": [], "baseline": []}
        for _ in range(WARMUP):
            step()
        for _ in range(rounds):
            seconds["ours"].append(whole())
            start = clock(device)
            for _ in range(steps):
                step()
            seconds["baseline"].append(clock(device) - start)
        return seconds

    seconds = with_bare_step(cfg, module, data, work)
    line = result(
        "fit",
        f"{cfg.name}, batch {data.batch_size}",
        str(cfg.trainer.precision),
        "images/s",
        steps * data.batch_size,
        seconds,
    )
    return {**line, "overhead": 1 / line["ratio"] - 1, "waited_for_data": statistics.median(waits)}
