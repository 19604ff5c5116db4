"""Sweeps as users start them: the basic sweeper, joblib and Optuna."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from srgan_lightning.runs.reading import find_runs
from srgan_lightning.train import objective
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY_FACES, TINY_SRGAN

QUICK = [*TINY_SRGAN, *TINY_FACES, "trainer.max_steps=1", "trainer.val_check_interval=1"]
Run = Callable[..., Any]


@pytest.mark.slow
def test_a_failed_job_is_reported_and_the_others_continue(run_module: Run, tmp_path: Path) -> None:
    """Unavailable VGG weights fail only the jobs that need them, as in the README's sweep without network."""
    done = run_module(
        "train", "-m", *QUICK, "loss.perceptual=0.006,0", "loss.vgg.weights=here.pth,there.pth", "hydra.sweep.dir=sweep"
    )
    assert done.returncode == 1
    told = re.findall(r"Job (\d) failed. loss.vgg.weights=(\S+): no such file", done.stdout)
    assert told == [("0", "here.pth"), ("1", "there.pth")]
    assert "Traceback" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr  # no colours in a pipe
    last = "2 of 4 jobs failed: 0, 1 (see their train.log). The others: python -m srgan_lightning.report sweep"
    assert done.stderr.splitlines()[-1] == last
    runs = find_runs(tmp_path / "sweep")
    assert [run.state for run in runs] == ["failed", "failed", "finished", "finished"]
    assert runs[0].failure.startswith("loss.vgg.weights=here.pth: no such file")
    assert runs[3].label == "perceptual=0, weights=there.pth"


@pytest.mark.slow
def test_optuna_searches_loss_weights_through_joblib(run_module: Run, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs the extra `sweep`")
    pytest.importorskip("joblib", reason="needs the extra `sweep`")
    done = run_module(
        "train",
        "sweep=loss_weights",
        *QUICK,
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.n_jobs=2",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "loss.pixel=choice(0.5,2)",
        "data.cache=memmap",  # which has its own loader
        "hydra.sweep.dir=sweep",
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    runs = find_runs(tmp_path / "sweep")
    assert [run.state for run in runs] == ["finished"] * 2
    weights = {float(run.overrides["loss.adversarial"]) for run in runs}
    assert len(weights) == 2
    assert all(1e-5 <= weight <= 1e-2 for weight in weights)
    results = OmegaConf.to_container(OmegaConf.load(tmp_path / "sweep/optimization_results.yaml"))
    found = {tuple(solution["values"]) for solution in results["solutions"]}  # type: ignore[index, call-overload]
    assert found <= {(run.summary["psnr_y"], run.summary["swd"]) for run in runs}


def test_the_objective_comes_from_the_summary(configure: Callable[..., DictConfig]) -> None:
    summary = {"psnr_y": 28.5, "swd": 0.3, "device": "cpu"}
    assert objective(configure(), summary) == 28.5
    assert objective(configure("objective=[psnr_y,swd]"), summary) == [28.5, 0.3]
    assert objective(configure(), {}) is None  # of several processes, only the first has scores
    with pytest.raises(UserError, match=r"objective=psnr: .* Use one of psnr_y, swd"):
        objective(configure("objective=psnr"), summary)
