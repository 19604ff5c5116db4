"""Rows of metrics.csv after a kill between any two writes, and after signals: those of an uninterrupted run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from srgan_lightning.runs.checkpoint_io import AtomicCheckpointIO
from srgan_lightning.train import train
from srgan_lightning.training.csv_history import RunCSVLogger
from tests.helpers.stops import SHORT, SRGAN, assert_resumes_exactly, configuration, history, stopped

pytestmark = pytest.mark.slow

#: Six batches, in epochs of four; validations after every second one, at the start within an accumulation.
RUN = [
    *SRGAN,
    "trainer.max_steps=2",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=2",
    "ckpt_path=auto",
    "data.num_workers=0",
]
#: The first measurement of health and R1 falls in the first epoch, and the second batch of the next is logged.
MEASURED = ["callbacks.health.interval=1", "loss.r1=1", "loss.r1_interval=1"]


class Killed(Exception):  # noqa: N818  # not an error
    """A kill: nothing of the run is written after it."""


def writes_until(monkeypatch: pytest.MonkeyPatch, last: float) -> list[str]:
    """Raise `Killed` after a number of rows and checkpoints; returns the names of those that are written."""
    done: list[str] = []

    def counted(name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> None:
            write(*arguments, **options)
            done.append(name)
            if len(done) == last:
                raise Killed

        return wrapped

    monkeypatch.setattr(RunCSVLogger, "log_metrics", counted("row", RunCSVLogger.log_metrics))
    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", counted("file", AtomicCheckpointIO.save_checkpoint))
    return done


def test_a_kill_between_any_two_writes_changes_no_row(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start from an artifact, so that there is also a validation before the first update."""
    overrides = [*RUN, *MEASURED, f"model.init_from={finished / 'generator.safetensors'}"]
    with monkeypatch.context() as patch:
        writes = writes_until(patch, float("inf"))
        train(configuration(tmp_path / "whole/0", overrides))
    whole = history(tmp_path / "whole/0")
    rows = [(float(row["batch"]), bool(row["val/psnr_y"])) for row in whole]
    assert rows == [(0, True), *((batch, scored) for batch in (2, 4, 6) for scored in (False, True))]
    assert writes.count("file") > 3
    health = (tmp_path / "whole/0/health.log").read_text()
    assert health.count("Health, update") == 1
    wrong = {}
    for kill in range(1, len(writes) + 1):
        run = tmp_path / f"killed{kill}/0"
        with monkeypatch.context() as patch:
            writes_until(patch, kill)
            with pytest.raises(Killed):
                train(configuration(run, overrides))
        train(configuration(run, overrides))
        if history(run) != whole:
            wrong[kill] = [(row["batch"], bool(row["val/psnr_y"]), bool(row["health/r1"])) for row in history(run)]
        assert (run / "health.log").read_text() == health
    assert wrong == {}


@pytest.mark.parametrize("torn", ["2,2,24", "2,2", "1"])
@pytest.mark.parametrize("whole", ["", "1,1,23\r\n"])
def test_a_torn_row_is_dropped_before_the_next_is_written(tmp_path: Path, whole: str, torn: str) -> None:
    (tmp_path / "metrics.csv").write_text(f"batch,step,x\r\n{whole}{torn}", newline="")
    logger = RunCSVLogger(tmp_path, "", "")
    logger.truncate_after(2)
    logger.log_metrics({"batch": 2, "x": 24.5}, 2)
    logger.save()
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["batch,step,x", *whole.split(), "2,2,24.5"]


def test_a_signal_adds_no_row(tmp_path: Path) -> None:
    """The last batch before a stop is logged only if the whole run logs it."""
    overrides = [*RUN, *MEASURED, "trainer.log_every_n_steps=3"]
    assert_resumes_exactly(tmp_path, overrides, stops=[1, 2, 3, 4])


@pytest.mark.parametrize("change", [{"interval": 5}, {"patience": 3}])
def test_other_options_of_health_within_an_accumulated_update(tmp_path: Path, change: dict[str, int]) -> None:
    """The update is measured by the options with which it began."""
    overrides = [*RUN, *MEASURED, "trainer.max_steps=1"]
    train(configuration(tmp_path / "whole/0", overrides))
    stopped(tmp_path / "parts/0", overrides, 1)
    train(configuration(tmp_path / "parts/0", overrides, callbacks={"health": change}))
    assert history(tmp_path / "parts/0") == history(tmp_path / "whole/0")
    kept = torch.load(tmp_path / "parts/0/checkpoints/last.ckpt", weights_only=True)["callbacks"]["Health"]["before"]
    assert kept == {}


def test_rows_of_a_repeated_test_and_validation_replace_the_earlier(copied: Path) -> None:
    """Resume a run that is at its end, without the checkpoint that would have its scores."""
    overrides = [*SHORT, "test=true", "ckpt_path=last"]
    train(configuration(copied, overrides))
    once = history(copied)
    assert len([row for row in once if row["test/psnr_y"]]) == 1
    (copied / "checkpoints/best.ckpt").unlink()
    train(configuration(copied, overrides))
    assert history(copied) == once
