"""Processes that `train` starts are closed to the network, and end like a single process."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from srgan_lightning.cli.errors import user_error
from srgan_lightning.training import launcher
from tests.conftest import TINY_FACES, TINY_SRGAN
from tests.helpers.listening import LOOPBACK

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PYTHONPATH = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *sys.path])  # finds tests.helpers.listening
TWO = [*TINY_SRGAN, *TINY_FACES, "trainer.devices=2", "trainer.max_steps=2", "callbacks.sample_grid=null"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_nothing_listens_beyond_loopback(run_module: Run) -> None:
    listening = "+callbacks.listening={_target_: tests.helpers.listening.Listening}"
    done = run_module("train", *TWO, listening, PYTHONPATH=PYTHONPATH, GLOO_SOCKET_IFNAME="")
    assert done.returncode == 0, done.stderr
    found = re.findall(r"process (\d+) listens on ((?:[0-9A-F]+:[0-9A-F]+ ?)*)", done.stdout)
    assert len({process for process, _ in found}) == 3  # two processes and the one that started them
    addresses = [word for _, words in found for word in words.split()]
    assert addresses  # gloo's; without it, the test would see nothing
    assert not [address for address in addresses if not address.startswith(LOOPBACK)]


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize(("interrupts", "seconds"), [(1, 33), (2, 60)])
def test_ctrl_c_in_a_long_update(run_module: Run, tmp_path: Path, interrupts: int, seconds: int) -> None:
    """The first signal waits for a checkpoint. The second ends all processes at once."""
    slow = f"+callbacks.slow={{_target_: tests.helpers.stops.InterruptParent, times: {interrupts}, seconds: {seconds}}}"
    done = run_module("train", *TWO, slow, PYTHONPATH=PYTHONPATH)
    ended = time.time() - float(done.stdout.split("interrupted at ")[1].split()[0])
    assert done.returncode == 130, done.stderr
    assert len(list(tmp_path.rglob("last.ckpt"))) == (interrupts == 1)
    assert "Traceback" not in done.stderr
    assert ended > seconds if interrupts == 1 else ended < 20, ended


def test_processes_end_with_the_command_that_started_them() -> None:
    """Workers exit however the parent ended: an orphan would keep training, and write into a resumed run."""
    reader, writer = os.pipe()
    command = os.fork()
    if command == 0:
        if os.fork() == 0:
            launcher.exit_with_parent(os.getppid())
        time.sleep(60)
        os._exit(0)
    os.close(writer)
    time.sleep(0.1)
    os.kill(command, signal.SIGKILL)
    os.waitpid(command, 0)
    assert os.read(reader, 1) == b""  # the last writer has exited


def test_a_broken_connection_is_recognised_by_gloos_message() -> None:
    """Other errors with the same words keep their traceback."""
    store = torch.distributed.HashStore()
    with pytest.raises(RuntimeError) as broken:
        torch.distributed.ProcessGroupGloo(store, 0, 2, timedelta(milliseconds=100))  # the other one never connects
    mesh = RuntimeError("[/build/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer")
    for error in (broken.value, mesh):
        assert "connection to another process" in str(user_error(error)), error
    for error in (RuntimeError("cannot decode igloo.jpg"), FileNotFoundError("gloo/igloo.jpg"), KeyError("gloo")):
        assert user_error(error) is None
