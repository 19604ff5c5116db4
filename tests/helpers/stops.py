"""Start runs that are killed, stopped or draw random numbers, and compare their results."""

import copy
import csv
import functools
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning import Callback, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file

from srgan_lightning.cli.config import config_dir
from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.train import train
from tests.conftest import TINY, TINY_FACES, TINY_SRGAN

#: A run with everything that has a state: two optimisers, a schedule, EMA, blur, accumulation, epochs of four batches.
SRGAN = [
    "experiment=quickstart",
    *TINY_SRGAN,
    *TINY_FACES,
    "model.generator.channels=4",
    "model.generator.global_skip=none",
    "model.accumulate_grad_batches=3",
    "degradation=blur",
    "degradation.kernel=5",
    "callbacks.sample_grid=null",
]
#: Settings of the runs that `finished` and `copied` of conftest.py return.
SHORT = [*SRGAN, "trainer.max_steps=2", "trainer.val_check_interval=2"]
SRRESNET = [
    "experiment=srresnet_celeba",
    "data=synthetic",
    *TINY,
    *TINY_FACES,
    "model.generator.channels=4",
    "trainer.accumulate_grad_batches=3",
    "callbacks.sample_grid=null",
]
#: Seconds differ between any two runs.
UNEQUAL = ("images_per_second",)


class Tell(Callback):
    """Send this process a signal at a training batch or in its validation; its workers get it first."""

    def __init__(self, batch: int, validation: bool = False, number: int = signal.SIGTERM, times: int = 1) -> None:
        self.batch, self.validation, self.number, self.times = batch, validation, number, times

    def _tell(self, trainer: Trainer, validation: bool) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == self.batch and validation == self.validation:
            for worker in multiprocessing.active_children():  # by another process: workers tolerate their parent's own
                subprocess.run(["kill", f"-{self.number}", str(worker.pid)], check=False)  # some have already exited
                time.sleep(0.2)  # for PyTorch to notice a worker that dies
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._tell(trainer, validation=False)

    def on_validation_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._tell(trainer, validation=True)


class TellParent(Callback):
    """Send SIGTERM to the command that started the processes, and give it time to pass the signal on."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == self.batch and trainer.is_global_zero:
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(1)


class InterruptParent(Callback):
    """Send SIGINT to the command that started this process, a second apart, during a long update."""

    def __init__(self, times: int, seconds: float) -> None:
        self.times, self.seconds = times, seconds

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.is_global_zero and trainer.global_step == 0:
            for _time in range(self.times):
                time.sleep(1)
                os.kill(os.getppid(), signal.SIGINT)
            print(f"interrupted at {time.time()}", flush=True)
            time.sleep(self.seconds)


class Noise(Callback):
    """Change the generator's weights by random numbers of Python, NumPy and torch."""

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        for parameter in pl_module.generator.parameters():  # type: ignore[operator, union-attr]
            parameter += 1e-3 * (torch.rand_like(parameter) + random.random() + np.random.rand())


@functools.cache
def _composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        return compose("train", ["run_dir=null", *overrides])


def configuration(run_dir: Path, overrides: list[str], **settings: Any) -> DictConfig:
    """Compose overrides, once for many runs, and change settings such as `ckpt_path` for this one."""
    cfg = copy.deepcopy(_composed(*overrides))
    OmegaConf.set_struct(cfg, False)  # it may lack a callback of the tests
    return cast(DictConfig, OmegaConf.merge(cfg, {"run_dir": str(run_dir), **settings}))


def in_a_process(target: Callable[..., None], *arguments: Any, seconds: float | None = None) -> int:
    """Run a function in a new process, and kill it after some seconds if given; return its exit code."""
    # Forked from a server that has imported everything, which takes one second instead of ten.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=target, args=arguments)
    process.start()
    process.join(seconds)
    if seconds is not None:
        process.kill()
        process.join()
    return cast(int, process.exitcode)


def attempt(run_dir: Path, overrides: list[str], fatal_sync: int | None = None) -> None:
    """Train in this process, with its output in `run_dir`.txt.

    Args:
        run_dir: the run directory.
        overrides: of the configuration.
        fatal_sync: number of the fsync call at which this process is killed. Each file is synced after it is written.
            An odd number also cuts the file short, as a kill during the write does.
    """
    torch.set_num_threads(1)
    log = run_dir.with_suffix(".txt").open("a")
    os.dup2(log.fileno(), 1), os.dup2(log.fileno(), 2)
    sys.stdout = sys.stderr = log
    if fatal_sync is not None:
        calls, fsync = iter(range(1, 10**9)), os.fsync

        def kill(descriptor: int) -> None:
            fsync(descriptor)
            if next(calls) == fatal_sync:
                if fatal_sync % 2:
                    os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = kill
    train(configuration(run_dir, overrides))


def equal(a: Any, b: Any) -> bool:
    """Return whether two values are bit-identical, also inside containers."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(value, b[key]) for key, value in a.items())
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def history(run: Path) -> list[dict[str, str]]:
    """Read the rows of a run's metrics.csv, without the columns that differ between any two runs."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if not k.startswith(UNEQUAL)} for row in csv.DictReader(file)]


def differences(one: Path, two: Path) -> list[str]:
    """Return the differences between two runs' checkpoints, history, artifact and files, except times."""
    found: list[str] = []
    for name in ("last", "best"):
        a, b = (torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True) for run in (one, two))
        for part in a.keys() | b.keys():
            if part not in ("callbacks", "loops") and not equal(a.get(part), b.get(part)):
                found.append(f"{name}.ckpt: {part}")
    histories = [history(run) for run in (one, two)]
    if histories[0] != histories[1]:
        found.append(f"metrics.csv: {len(histories[0])} and {len(histories[1])} rows")
    for path in sorted(one.glob("*.safetensors")):
        if not equal(*(load_file(run / path.name) for run in (one, two))):
            found.append(path.name)
    listings = [{str(path.relative_to(run)) for path in run.rglob("*")} for run in (one, two)]
    return found + sorted(listings[0] ^ listings[1])


def stopped(
    run: Path,
    overrides: list[str],
    batch: int,
    validation: bool = False,
    number: int = signal.SIGTERM,
    callbacks: Sequence[Callback] = (),
) -> Any:
    """Train until a signal at a batch; return the summary."""
    tell = {"_target_": "tests.helpers.stops.Tell", "batch": batch, "validation": validation, "number": int(number)}
    with pytest.raises(SystemExit) as ended:
        train(configuration(run, overrides, ckpt_path="auto", callbacks={"tell": tell}), callbacks)
    assert ended.value.code == 128 + number
    return json.loads((run / "summary.json").read_text())


def assert_resumes_exactly(folder: Path, overrides: list[str], stops: Sequence[int]) -> tuple[Path, Path]:
    """Train without a stop, and again with a stop at each given batch; both must leave the same files.

    Args:
        folder: for the runs.
        overrides: of the configuration.
        stops: batches, counted from 1.

    Returns:
        The directories of the uninterrupted run and of the other.
    """
    whole, parts = folder / "whole/0", folder / "parts/0"
    train(configuration(whole, overrides))
    for batch in stops:
        stopped(parts, overrides, batch)
    train(configuration(parts, overrides, ckpt_path="last"))
    assert differences(whole, parts) == []
    return whole, parts


def hold(run_dir: Path) -> None:
    """Keep a run directory locked for a minute, as a training there would."""
    with RunDirectory(run_dir).lock():
        (run_dir / "held").touch()
        time.sleep(60)
