"""Stop and resume: by signals, on full disks, beside invalid checkpoints; and reproducible results."""

import csv
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from srgan_lightning.artifacts.artifact import read_artifact
from srgan_lightning.cli.errors import user_error
from srgan_lightning.runs.checkpoint_io import verify_checkpoint
from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.runs.resume import find_checkpoint
from srgan_lightning.train import main, train
from srgan_lightning.utils.errors import UserError
from tests.helpers.mixed_precision import Scaled
from tests.helpers.stops import SHORT, SRGAN, SRRESNET, attempt, configuration, differences, hold, in_a_process, stopped

pytestmark = pytest.mark.slow
NOISE = "+callbacks.noise={_target_: tests.helpers.stops.Noise}"


@pytest.mark.parametrize(
    ("stage", "validation", "stops"),
    [
        ("srgan", False, [1, 2, 3, 4, 5, 6, 8, 11]),
        ("srgan", True, [2, 4, 6, 10]),
        ("srresnet", False, [1, 3, 4, 6, 8]),
        ("srresnet", True, [2, 4, 8]),
    ],
)
def test_a_run_stopped_again_and_again_is_the_uninterrupted_one(
    tmp_path: Path, stage: str, validation: bool, stops: list[int]
) -> None:
    """Stop at batches or in the validations after them: within and at the end of epochs, and during accumulation."""
    base, steps = (SRGAN, 4) if stage == "srgan" else (SRRESNET, 6)  # SRResNet also updates at the end of an epoch
    overrides = [*base, f"trainer.max_steps={steps}", "trainer.val_check_interval=2", "data.num_workers=1", NOISE]
    whole, parts = tmp_path / "whole/0", tmp_path / "parts/0"
    train(configuration(whole, overrides))
    for batch in stops:
        summary = stopped(parts, overrides, batch, validation, signal.SIGINT if batch % 4 else signal.SIGTERM)
        assert summary["interrupted"]
        assert summary["steps"] < steps
    assert not train(configuration(parts, overrides, ckpt_path="last"))["interrupted"]
    assert differences(whole, parts) == []
    assert len(json.loads((parts / "provenance.json").read_text())["resumed"]) == len(stops)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_all_processes_of_a_job_leaves_the_workers_to_end_well(
    run_module: Callable[..., Any], tmp_path: Path, number: int
) -> None:
    """SLURM, systemd and pkill send the signal to all processes."""
    tell = f"+callbacks.tell={{_target_: tests.helpers.stops.Tell, batch: 3, number: {int(number)}}}"
    overrides = [*SRGAN, "trainer.max_steps=2", "data.num_workers=2", f"hydra.run.dir={tmp_path}/0", tell]
    root = Path(__file__).resolve().parents[2]
    done = run_module("train", *overrides, PYTHONPATH=f"{root / 'src'}{os.pathsep}{root}")
    assert done.returncode == 128 + number, done.stderr
    assert json.loads((tmp_path / "0/summary.json").read_text())["interrupted"]
    verify_checkpoint(tmp_path / "0/checkpoints/last.ckpt")


def test_two_runs_of_one_seed_are_equal_to_the_last_bit(finished: Path, tmp_path: Path) -> None:
    train(configuration(tmp_path / "again", SHORT))
    assert differences(finished, tmp_path / "again") == []


def test_the_best_score_moves_with_the_run_directory(copied: Path) -> None:
    """If no later score is better, the best checkpoint is still the one from before the move."""
    best = torch.load(copied / "checkpoints/best.ckpt", weights_only=True)["scores"]
    last = torch.load(copied / "checkpoints/last.ckpt", weights_only=True)
    (state,) = (state for name, state in last["callbacks"].items() if "val/psnr_y" in name)
    state["best_k_models"] = {path: torch.tensor(99.0) for path in state["best_k_models"]}
    torch.save(last, copied / "checkpoints/last.ckpt")
    summary = train(configuration(copied, SHORT, ckpt_path="last", trainer={"max_steps": 3}))
    assert summary["psnr_y"] == best["psnr_y"]
    assert summary["checkpoint"] == str(copied / "checkpoints/best.ckpt")
    assert json.loads(read_artifact(copied / "generator.safetensors")[1]["scores"]) == best


@pytest.mark.parametrize("before", ["none", "older"])
def test_a_newest_checkpoint_that_a_kill_prevented_is_written_from_the_best(copied: Path, before: str) -> None:
    """There is nothing left to train, so no validation writes the file again."""
    last, best = (copied / f"checkpoints/{name}.ckpt" for name in ("last", "best"))
    whole = best.read_bytes()
    if before == "older":
        last.write_bytes(b"older")
        os.utime(last, ns=(0, 0))
    else:
        last.unlink()
    train(configuration(copied, SHORT, ckpt_path="last"))
    assert last.read_bytes() == whole
    assert best.read_bytes() == whole


def test_resuming_from_an_older_checkpoint_keeps_the_newest(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last, best = (copied / f"checkpoints/{name}.ckpt" for name in ("last", "best"))
    os.utime(best, ns=(0, 0))
    newest = last.read_bytes()
    train(configuration(copied, SHORT, ckpt_path=str(best)))
    assert last.read_bytes() == newest
    told = "Already at update 2 of trainer.max_steps=2: nothing is left to train. Raise trainer.max_steps.\n"
    assert told in capsys.readouterr().out


def test_a_finished_run_that_is_resumed_into_another_directory_is_scored_there(finished: Path, tmp_path: Path) -> None:
    """Nothing is left to train, and another directory's scores are not used, because its data may differ."""
    summary = train(configuration(tmp_path / "new", SHORT, ckpt_path=str(finished / "checkpoints/last.ckpt")))
    before = json.loads((finished / "summary.json").read_text())
    assert (summary["steps"], summary["psnr_y"]) == (before["steps"], before["psnr_y"])
    assert summary["checkpoint"] == str(tmp_path / "new/checkpoints/best.ckpt")


def test_broken_checkpoints_are_reported_and_skipped(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = copied / "checkpoints/last.ckpt"
    damaged = bytearray(whole.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 200] = bytes(200)  # one might lie in the padding between tensors
    for number, content in enumerate((b"", whole.read_bytes()[:-1000], bytes(damaged)), start=1):
        broken = copied.with_name(str(number)) / "checkpoints/last.ckpt"
        broken.parent.mkdir(parents=True)
        broken.write_bytes(content)
    (copied / "checkpoints/best.ckpt").unlink()
    assert find_checkpoint("last", RunDirectory(copied.with_name("new"))) == str(whole)
    told = capsys.readouterr().out
    assert told.count("Skipping an invalid checkpoint: ") == 3
    assert [f"/{number}/checkpoints" in told for number in (1, 2, 3)] == [True] * 3
    assert told.endswith(f"Resuming from {whole}\n")
    whole.unlink()
    assert find_checkpoint("auto", RunDirectory(copied.with_name("new"))) is None
    with pytest.raises(UserError, match="there is no valid checkpoint below"):
        find_checkpoint("last", RunDirectory(copied.with_name("new")))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([*SRRESNET, "trainer.max_steps=3"], "checkpoint of SRGAN, and this run trains SRResNet.*model.init_from"),
        (
            [*SHORT, "model.discriminator.channels=8"],
            r"discriminator\.\S+ is \[4\] in the file and \[8\] in this run",
        ),
        (
            [*SHORT, "model.discriminator.grid=3"],
            r"discriminator\.\S+ is \[8, 128\] in the file and \[8, 288\] in this run",
        ),
    ],
)
def test_checkpoints_of_other_networks_are_refused(copied: Path, overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        train(configuration(copied.with_name("new"), overrides, ckpt_path=str(copied / "checkpoints/last.ckpt")))


def test_a_changed_optimiser_is_reported_to_have_no_effect(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = [*SHORT, "model.generator_optimizer.lr=1e-9", "model.generator_optimizer.fused=false"]
    train(configuration(copied, changed, ckpt_path="last", trainer={"max_steps": 3}))
    lines = capsys.readouterr().out.splitlines()
    without_effect = [line for line in lines if "without effect: the optimiser continues as in its checkpoint" in line]
    assert len(without_effect) == 1  # `fused` is used
    assert "generator_optimizer.lr: 1e-09, was 0.001" in without_effect[0]


def test_a_start_without_a_checkpoint_resumes_nothing(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(copied / "checkpoints")
    train(configuration(copied, [*SHORT, "model.generator_optimizer.lr=1e-9"]))
    out = capsys.readouterr().out
    assert "Starting again with config.model.generator_optimizer.lr: 1e-09, was 0.001\n" in out
    assert "Resuming" not in out


def test_a_full_disk_leaves_the_checkpoint_before(copied: Path) -> None:
    before = {path: path.read_bytes() for path in (copied / "checkpoints").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(map(len, before.values())) // 2, hard))  # no file may grow beyond
    try:
        with pytest.raises(OSError, match="File too large") as full:
            train(configuration(copied, SHORT, ckpt_path="last", trainer={"max_steps": 3}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told = user_error(full.value)
    assert told is not None
    assert f"{copied / 'checkpoints'}" in told
    assert "Free some space" in told
    assert {path: path.read_bytes() for path in (copied / "checkpoints").iterdir()} == before


def test_history_survives_a_torn_line(copied: Path) -> None:
    with (copied / "metrics.csv").open("a") as file:
        file.write("0.5,,0.25")
    train(configuration(copied, SHORT, ckpt_path="last", trainer={"max_steps": 3}))
    with (copied / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(float(row["batch"])) for row in rows] == [1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9, 9]
    assert all(None not in row for row in rows)


def test_the_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    twice = f"+callbacks.tell={{_target_: tests.helpers.stops.Tell, batch: 2, number: {int(signal.SIGINT)}, times: 2}}"
    assert in_a_process(attempt, tmp_path / "run", [*SHORT, twice]) == -signal.SIGINT
    assert not (tmp_path / "run/checkpoints").exists()


def test_slurm_requeues_after_its_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scontrol = tmp_path / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    stopped(tmp_path / "run", SHORT, 2, number=signal.SIGUSR1)
    assert (tmp_path / "asked").read_text() == "requeue 17\n"


def test_the_scaler_of_16_mixed_is_resumed(tmp_path: Path) -> None:
    overrides = [*SHORT, "trainer.max_steps=3"]
    train(configuration(tmp_path / "whole/0", overrides), [Scaled(growth_interval=2)])
    stopped(tmp_path / "parts/0", overrides, 5, callbacks=[Scaled(growth_interval=2)])
    train(configuration(tmp_path / "parts/0", overrides, ckpt_path="last"), [Scaled(growth_interval=2)])
    assert differences(tmp_path / "whole/0", tmp_path / "parts/0") == []
    state = torch.load(tmp_path / "parts/0/checkpoints/last.ckpt", weights_only=True)["MixedPrecision"]
    assert state["scale"] > 256


def test_two_runs_never_write_to_one_directory(tmp_path: Path) -> None:
    import multiprocessing

    process = multiprocessing.get_context("forkserver").Process(target=hold, args=(tmp_path / "run",))
    process.start()
    while not (tmp_path / "run/held").exists():
        time.sleep(0.05)
    with pytest.raises(UserError, match="Another run is still writing"), RunDirectory(tmp_path / "run").lock():
        pass
    process.kill()
    process.join()
    with RunDirectory(tmp_path / "run").lock():  # a killed run leaves no lock behind
        pass


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Run `python -m srgan_lightning.train ARGUMENTS` in this process, in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> None:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        main()

    return run


def test_the_command_resumes_in_the_same_directory(command: Callable[..., None], tmp_path: Path) -> None:
    command(*SHORT, "ckpt_path=auto")  # nothing to resume from yet
    (run,) = (tmp_path / "outputs/quickstart").iterdir()
    assert json.loads((run / "summary.json").read_text())["seconds"] < 1000
    last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    last["callbacks"]["Throughput"]["whole_seconds"] += 1000  # as after a longer training
    torch.save(last, run / "checkpoints/last.ckpt")
    command(*SHORT, "ckpt_path=last", "trainer.max_steps=3", "data.batch_size=2")
    assert [*(tmp_path / "outputs/quickstart").iterdir()] == [run]
    (resumed,) = (run / ".hydra").glob("resumed_*")
    assert "trainer.max_steps=2" in (run / ".hydra/overrides.yaml").read_text()
    assert "trainer.max_steps=3" in (resumed / "overrides.yaml").read_text()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 3
    assert summary["seconds"] > 1000
    with (run / "metrics.csv").open(newline="") as file:
        assert [int(float(row["batch"])) for row in csv.DictReader(file)] == [1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9, 9]
    record = json.loads((run / "provenance.json").read_text())
    assert {"command", "code", "packages", "data", "config", "python"} <= record.keys()
    assert record["config"]["trainer"]["max_steps"] == 2
    assert record["data"].keys() == {"train", "val"}
    assert record["packages"]["torch"] == torch.__version__.split("+")[0]
    (again,) = record["resumed"]
    assert again["checkpoint"] == str(run / "checkpoints/last.ckpt")
    assert again["data"] == record["data"]


def test_a_sweep_resumes_job_by_job(command: Callable[..., None], tmp_path: Path) -> None:
    sweep = ["-m", *SHORT, "loss.adversarial=0,1e-3", f"hydra.sweep.dir={tmp_path}/sweep"]
    command(*sweep)
    shutil.rmtree(tmp_path / "sweep/1/checkpoints")  # as if the sweep had been killed before its second job
    command(*sweep, "ckpt_path=auto", "trainer.max_steps=3")
    records = [json.loads((tmp_path / f"sweep/{job}/provenance.json").read_text()) for job in (0, 1)]
    assert records[0]["resumed"][0]["checkpoint"] == str(tmp_path / "sweep/0/checkpoints/last.ckpt")
    assert records[1]["resumed"][0]["checkpoint"] is None
