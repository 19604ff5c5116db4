"""Kill -9 at any moment, then `ckpt_path`: the same weights, history and files as without the kill."""

import itertools
import os
import random
import signal
import time
from pathlib import Path

import pytest

from srgan_lightning.runs.checkpoint_io import verify_checkpoint
from tests.conftest import FaultCounts
from tests.helpers.stops import SRGAN, attempt, differences, in_a_process

KILLS = int(os.environ.get("SRGAN_FAULTS_KILLS", "3"))
SEED = int(os.environ.get("SRGAN_FAULTS_SEED", "0"))
KILLS_PER_RUN = 5
OVERRIDES = [
    *SRGAN,
    "trainer.max_steps=8",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=3",
    "ckpt_path=auto",
]


def train_until(run: Path, fatal_sync: int | None = None, seconds: float | None = None) -> int:
    """Train in a new process; kill it at a call of fsync or after some seconds, if given; return its exit code."""
    return in_a_process(attempt, run, OVERRIDES, fatal_sync, seconds=seconds)


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_kills_lose_nothing(tmp_path: Path, fault_counts: FaultCounts) -> None:
    """Half of the kills fall within the writing of a file. The others fall anywhere, some after the run's end."""
    chance = random.Random(SEED)
    whole = tmp_path / "whole/0"
    whole.parent.mkdir()
    assert train_until(whole) == 0
    started = time.perf_counter()
    (tmp_path / "again").mkdir()
    assert train_until(tmp_path / "again/0") == 0  # the fork server has imported everything now
    duration = time.perf_counter() - started
    assert differences(whole, tmp_path / "again/0") == []

    kills, writing, runs, lost = 0, 0, 0, dict[Path, list[str]]()
    while kills < KILLS:
        run = tmp_path / f"killed{runs}/0"
        run.parent.mkdir()
        for _ in range(min(KILLS_PER_RUN, KILLS - kills)):
            checkpoint = run / "checkpoints/last.ckpt"
            before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
            within = chance.random() < 0.5
            code = train_until(run, *((chance.randint(1, 12), None) if within else (None, chance.uniform(0, duration))))
            assert code in (0, -signal.SIGKILL), run.with_suffix(".txt").read_text()
            kills, writing = kills + (code != 0), writing + (within and code != 0)
            if before:
                verify_checkpoint(checkpoint)
                assert checkpoint.stat().st_mtime_ns >= before
        assert train_until(run) == 0, run.with_suffix(".txt").read_text()
        runs += 1
        if found := differences(whole, run):
            lost[run] = found
    fault_counts(kills=kills, kills_within_a_write=writing, runs=runs, runs_not_bit_exact=len(lost))
    assert lost == {}


@pytest.mark.faults
@pytest.mark.skipif(KILLS < 50, reason="the long form: make faults")
@pytest.mark.timeout(3600)
def test_a_kill_at_any_write_loses_nothing(tmp_path: Path, fault_counts: FaultCounts) -> None:
    """Kill one run at each call of fsync."""
    whole = tmp_path / "whole/0"
    whole.parent.mkdir()
    assert train_until(whole) == 0
    lost = dict[int, list[str]]()
    for sync in itertools.count(1):
        run = tmp_path / f"killed{sync}/0"
        run.parent.mkdir()
        if train_until(run, fatal_sync=sync) == 0:
            break
        assert train_until(run) == 0, run.with_suffix(".txt").read_text()
        if found := differences(whole, run):
            lost[sync] = found
    fault_counts(kills=sync - 1, kills_within_a_write=sync - 1, runs=sync - 1, runs_not_bit_exact=len(lost))
    assert sync > 1
    assert lost == {}
