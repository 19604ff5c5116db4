"""Start and end loader processes, and let them ignore signals."""

import multiprocessing
import os
import signal
import sys
from multiprocessing.util import Finalize
from typing import Any

#: How loader processes are started. The method is set explicitly, because the default differs: Python 3.14 uses
#: forkserver, and joblib sets loky, whose queues work only with loky's own processes. A forked worker starts in
#: milliseconds and shares the list of images. A worker started in another way imports torch first, which takes seconds
#: at every validation. Forking is safe, because workers never use CUDA. macOS has no safe fork.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


def ignore_signals_in_worker(worker: int) -> None:
    """Ignore signals that are sent to the whole job.

    The training process still needs its workers while it shuts down cleanly.
    """
    os.setpgid(0, 0)  # a new process group, because Ctrl-C goes to the whole group
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def kill_workers() -> None:
    """Kill the remaining workers of an exiting process.

    The traceback of an error, or an interrupted validation, can keep a loader alive. At exit, Python would send its
    workers SIGTERM, which they ignore, and wait for them forever.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # otherwise PyTorch would report each killed worker as crashed
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def worker_options(workers: int) -> dict[str, Any]:
    """Return the options of a DataLoader for its workers.

    Args:
        workers: number of loader processes; 0 loads in the training process.
    """
    if workers:
        Finalize(None, kill_workers, exitpriority=0)  # runs before Python's cleanup of processes
    return {
        "num_workers": workers,
        "multiprocessing_context": START_METHOD if workers else None,
        "worker_init_fn": ignore_signals_in_worker,
    }
