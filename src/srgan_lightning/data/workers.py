"""Loader processes: how they start, the signals that they ignore, and how they end."""

import multiprocessing
import os
import signal
import sys
from multiprocessing.util import Finalize
from typing import Any

#: Named, because the process's own default may not serve: joblib makes it loky, whose queues need loky's processes, and
#: Python 3.14 makes it forkserver. A forked worker starts in milliseconds and shares the list of images; the others
#: import torch for seconds, and would again at every validation. A worker never uses CUDA, which no fork survives.
#: macOS has no safe fork.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


def ignore_signals_in_worker(worker: int) -> None:
    """Leave the signals of a whole job to the training process, which needs its workers in order to end well."""
    os.setpgid(0, 0)  # Ctrl-C goes to the process group
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def kill_workers() -> None:
    """Kill the workers that an exiting process still has.

    An error's traceback keeps their loader alive, as a validation that was cut short does. Python ends such workers by
    the SIGTERM that they ignore, and would wait for them without end.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch would report each as a worker that has died
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def worker_options(workers: int) -> dict[str, Any]:
    """What a DataLoader takes for its workers.

    Args:
        workers: loader processes; 0 loads in the process itself.
    """
    if workers:
        Finalize(None, kill_workers, exitpriority=0)  # before Python's own end of them, in any kind of process
    return {
        "num_workers": workers,
        "multiprocessing_context": START_METHOD if workers else None,
        "worker_init_fn": ignore_signals_in_worker,
    }
