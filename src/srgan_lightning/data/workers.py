"""Loader processes: how they start, and the signals that they ignore."""

import os
import signal
import sys
from typing import Any

#: Named, because the process's own default may not serve: joblib makes it loky, whose queues need loky's processes, and
#: Python 3.14 makes it forkserver. A forked worker starts in milliseconds and shares the list of images; the others
#: import torch for seconds, and would again at every validation. A worker never uses CUDA, which no fork survives.
#: macOS has no safe fork.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


def ignore_signals_in_worker(worker: int) -> None:
    """Leave the signals of a whole job to the training process, which needs its workers in order to end well."""
    os.setpgid(0, 0)  # Ctrl-C goes to the process group
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def worker_options(workers: int) -> dict[str, Any]:
    """What a DataLoader takes for its workers.

    Args:
        workers: loader processes; 0 loads in the process itself.
    """
    return {
        "num_workers": workers,
        "multiprocessing_context": START_METHOD if workers else None,
        "worker_init_fn": ignore_signals_in_worker,
    }
