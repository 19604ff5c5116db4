"""Start the processes of a run on one machine, forward signals to them, and stop them together.

torchelastic's agent is not used: its rendezvous listens on every network interface and unpickles what it receives, and
it kills processes that need more than 30 seconds to save their work. Here nothing listens beyond the loopback
interface, because the processes connect through a file in a private temporary folder.
"""

import atexit
import json
import math
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch.distributed
from omegaconf import DictConfig, OmegaConf
from torch._C._distributed_c10d import FileStore
from torch.distributed.constants import default_pg_timeout

from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.utils.cores import usable_cores
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.launched import COMMAND, LOST_CONNECTION, WORKER

FOLDER = "SRGAN_LIGHTNING_FOLDER"  # environment variable that gives a worker the path of the private folder
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # forwarded to workers; SIGHUP is not, so that nohup works
TIME_TO_SAVE = 3600.0  # seconds from a signal to SIGKILL: time for a long update, compilation or a slow upload
TIME_TO_FAIL = 10.0  # seconds to wait, after a lost connection, for the exit of the process that caused this loss
TIME_TO_END = 30.0  # seconds from a failure to SIGKILL of the other processes, which cannot finish their update


def launch(cfg: DictConfig, processes: int) -> dict[str, Any]:
    """Run `train` in several processes of this machine.

    Args:
        cfg: the run's configuration.
        processes: number of processes.

    Returns:
        The summary of the run.

    Raises:
        UserError: a process failed, and the others were stopped.
        SystemExit: a signal stopped the processes, after they saved their work; or Ctrl-C was pressed twice.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # readable only by this user
        text = json.dumps(OmegaConf.to_container(cfg, resolve=True))  # only this process can resolve Hydra's values
        (Path(folder) / "configuration.json").write_text(text, encoding="utf-8")
        workers = Workers()
        with workers.forward_signals():
            for rank in range(processes):
                workers.start(rank, processes, folder)
            failure = workers.wait()
    if failure is not None:
        rank, code = failure
        if workers.signal is not None and (code < 0 or code == 128 + workers.signal):
            raise SystemExit(128 + workers.signal)
        if code - 128 in SIGNALS:  # only this one process got a signal, and it saved its work
            raise SystemExit(code)
        how = f"exited with code {code}; its message is above"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}, perhaps because memory ran out"
        raise UserError(f"Process {rank} of {processes} {how}. The others were stopped.")
    summary: dict[str, Any] = json.loads(RunDirectory(Path(cfg.run_dir)).summary.read_text(encoding="utf-8"))
    return summary


class Workers:
    """The processes of one run, each in its own session, so that Ctrl-C reaches them only through this process."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        self.signal: signal.Signals | None = None  # the last signal that was forwarded
        self.deadline = math.inf  # time at which the remaining processes are killed

    def start(self, rank: int, processes: int, folder: str) -> None:
        """Start one process with torchrun's environment variables, and with sockets on the loopback interface."""
        names = [name for _, name in socket.if_nameindex()]
        loopback = next((name for name in ("lo", "lo0") if name in names), "lo")
        environment = {
            "OMP_NUM_THREADS": str(max(usable_cores() // processes, 1)),
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "GROUP_RANK": "0",
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "TORCHELASTIC_RUN_ID": uuid.uuid4().hex,
            "GLOO_SOCKET_IFNAME": loopback,
            "NCCL_SOCKET_IFNAME": loopback,
            COMMAND: shlex.join(sys.orig_argv),
            FOLDER: folder,
        }
        command = [sys.executable, "-m", "srgan_lightning.train", WORKER, str(os.getpid())]
        self.started.append(subprocess.Popen(command, env=environment, start_new_session=True))

    @contextmanager
    def forward_signals(self) -> Iterator[None]:
        """Forward signals inside the `with`; leave no process running after it."""
        before = {number: signal.signal(number, self._forward) for number in SIGNALS}
        try:
            yield
        finally:
            self._kill()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        if number == self.signal == signal.SIGINT:
            # Let `wait` kill the processes, because the code that this handler interrupts may hold a Popen's lock.
            self.deadline = -math.inf
            return
        self.signal = signal.Signals(number)
        self._tell(self.signal, TIME_TO_SAVE)

    def _tell(self, number: signal.Signals, seconds: float) -> None:
        self.deadline = min(self.deadline, time.monotonic() + seconds)
        for process in self.started:
            # Do not signal the process's children, such as torch.compile's workers: an unfinished update may need them.
            process.send_signal(number)

    def _kill(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def wait(self) -> tuple[int, int] | None:
        """Wait for all processes; stop all when one fails.

        Returns:
            Rank and exit code (the negative signal number if it was killed) of the process that most likely caused the
            failure; None if all succeeded.
        """
        failure, patience = None, math.inf
        while any(process.poll() is None for process in self.started):
            if failure is None and (found := self._failure()):
                patience = min(patience, time.monotonic() + TIME_TO_FAIL)
                if found[1] != LOST_CONNECTION or time.monotonic() > patience:
                    failure = found
                    self._tell(signal.SIGTERM, TIME_TO_END)
            if time.monotonic() > self.deadline:
                self._kill()
            time.sleep(0.1)
        return failure or self._failure()

    def _failure(self) -> tuple[int, int] | None:
        codes = [(rank, process.poll()) for rank, process in enumerate(self.started)]
        failed = [(rank, code) for rank, code in codes if code]
        # Prefer killed processes to failed ones, and failed ones to those that only lost a connection.
        return min(failed, key=lambda item: (item[1] == LOST_CONNECTION, item[1] > 0), default=None)


def launched() -> bool:
    """Check whether `launch` started this process."""
    return sys.argv[1:2] == [WORKER]


def configuration() -> DictConfig:
    """Return the configuration of this process, which `launch` started.

    After this call, the process exits when its parent does.
    """
    threading.Thread(target=exit_with_parent, args=(int(sys.argv[2]),), daemon=True).start()
    return DictConfig(json.loads((Path(os.environ[FOLDER]) / "configuration.json").read_text(encoding="utf-8")))


def exit_with_parent(parent: int) -> None:
    """Exit when the parent dies, even by SIGKILL, so that no orphan keeps training."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def connect(trainer: lightning.Trainer) -> None:
    """Open the process group through a file if `launch` started this process.

    Without this, Lightning would open the group by listening on a port.
    """
    if not launched():
        return
    strategy: Any = trainer.strategy
    device = strategy.root_device
    backend = getattr(strategy, "process_group_backend", None)
    strategy.accelerator.setup_device(device)
    torch.distributed.init_process_group(
        backend or torch.distributed.Backend.default_device_backend_map.get(device.type, "gloo"),
        store=FileStore(str(Path(os.environ[FOLDER]) / "store"), trainer.world_size),
        rank=trainer.global_rank,
        world_size=trainer.world_size,
        timeout=getattr(strategy, "_timeout", default_pg_timeout),
        device_id=None if device.type == "cpu" else device,
    )
    atexit.register(torch.distributed.destroy_process_group)
