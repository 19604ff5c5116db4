"""Loader processes: their start method does not depend on the default of the starting process."""

import multiprocessing
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch.utils.data import DataLoader

from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.folder import FolderData
from srgan_lightning.data.workers import ignore_signals_in_worker, worker_options


@pytest.mark.parametrize("cache", [None, "memmap"])
def test_workers_may_be_spawned(photos: Callable[..., Path], tmp_path: Path, cache: Literal["memmap"] | None) -> None:
    """macOS cannot fork safely, so what a worker gets is pickled there."""
    folder = str(photos("train", 4))
    data = FolderData(folder, folder, degradation=Bicubic(4), crop=32, batch_size=2, num_workers=1,
                      cache=cache, cache_dir=str(tmp_path / "cache"))  # fmt: skip
    data.setup("fit")
    loader = data.train_dataloader()
    dataset, initialise = pickle.loads(pickle.dumps((loader.dataset, loader.worker_init_fn)))
    assert torch.equal(dataset[2, 7]["hr"], loader.dataset[2, 7]["hr"])
    assert initialise is ignore_signals_in_worker


def test_the_default_start_method_of_the_process_is_not_used(
    monkeypatch: pytest.MonkeyPatch, photos: Callable[..., Path]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("started by the process's own default")

    monkeypatch.setattr(multiprocessing.Process, "_Popen", staticmethod(never))
    folder = str(photos("train", 4))
    data = FolderData(folder, folder, degradation=Bicubic(4), crop=32, batch_size=2, num_workers=1)
    data.setup("fit")
    assert len(list(data.train_dataloader())) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_workers_outlive_the_signals_of_a_whole_job(number: int) -> None:
    """Workers ignore signals to a whole job, such as pkill's: the training process still needs their batches."""
    loader = DataLoader(list(range(40)), **worker_options(1))
    batches = iter(loader)
    next(batches)
    (worker,) = batches._workers
    subprocess.run(["kill", f"-{int(number)}", str(worker.pid)], check=True)  # from another process than their parent
    assert len(list(batches)) == 39


LEFT_ALIVE = """
import multiprocessing
from torch.utils.data import DataLoader
from srgan_lightning.data.workers import worker_options

def leave():
    kept.append(iter(DataLoader(list(range(8)), **worker_options(2))))
    next(kept[0])
    raise MemoryError

kept = []
if {process}:
    multiprocessing.get_context("fork").Process(target=leave).start()
else:
    leave()
"""


@pytest.mark.slow
@pytest.mark.parametrize("process", [False, True], ids=["program", "child"])
def test_workers_that_are_left_at_exit_do_not_keep_the_process(process: bool) -> None:
    """An error in a validation leaves loaders like this: its traceback keeps the loader."""
    done = subprocess.run(
        [sys.executable, "-c", LEFT_ALIVE.format(process=process)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (0 if process else 1)
    assert done.stderr.rstrip().endswith("MemoryError"), done.stderr
