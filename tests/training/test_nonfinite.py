"""Non-finite values leave no trace: updates are skipped, then rolled back, and then the run stops."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from srgan_lightning.losses import PerceptualLoss
from srgan_lightning.train import main, train
from srgan_lightning.training.callbacks import NonFinite
from tests.conftest import FaultCounts
from tests.helpers.poison import poison
from tests.helpers.watched_runs import PERCEPTUAL, SRGAN, STAGES, assert_same, checkpoint, log_of

Configure = Callable[..., DictConfig]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def count(request: pytest.FixtureRequest, fault_counts: FaultCounts) -> None:
    if request.node.get_closest_marker("faults"):
        fault_counts(faults_planted=1)


@pytest.mark.parametrize("fused", [True, False])
def test_no_optimiser_steps_after_bad_gradients(fused: bool) -> None:
    """Test a discriminator that takes several steps per update."""
    networks = [nn.Linear(2, 2), nn.Linear(2, 2)]
    generator, discriminator = (torch.optim.Adam(net.parameters(), lr=0.1, fused=fused) for net in networks)
    trainer = cast(Any, SimpleNamespace(optimizers=[generator, discriminator], precision_plugin=SimpleNamespace()))
    module = cast(Any, nn.ModuleList(networks))
    callback = NonFinite()
    callback.bn_buffers, callback.bn_backup = [torch.zeros(1)], [torch.ones(1)]

    def step(optimizer: torch.optim.Optimizer, value: float) -> None:
        for weight in optimizer.param_groups[0]["params"]:
            weight.grad = torch.full_like(weight, value)
        callback.on_before_optimizer_step(trainer, module, optimizer)
        optimizer.step()
        optimizer.zero_grad()

    before = [weight.clone() for weight in module.parameters()]
    for optimizer, value in ((discriminator, 1.0), (discriminator, float("nan"))):
        step(optimizer, value)
    sound = [weight.clone() for weight in networks[1].parameters()]
    assert not any(map(torch.equal, before[2:], sound))
    step(discriminator, 1.0)
    step(generator, 1.0)
    assert all(map(torch.equal, sound, networks[1].parameters()))
    assert all(map(torch.equal, before[:2], networks[0].parameters()))
    assert callback.bad_gradients
    assert callback.bn_buffers[0] == 1  # restored


@pytest.mark.faults
@pytest.mark.parametrize("key", ["lr", "hr"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_nan_batch_leaves_no_trace(configure: Configure, stage: str, key: str) -> None:
    """Weights, moments and BatchNorm statistics after a poisoned second update are those of a run of one update."""
    one = configure(*STAGES[stage], "trainer.max_steps=1", run="one")
    two = configure(*STAGES[stage], "trainer.max_steps=2", poison(1, key=key), run="two")
    train(one)
    assert train(two)["steps"] == 2
    assert_same(checkpoint(two), checkpoint(one), "state_dict")
    assert all(value.isfinite().all() for value in checkpoint(two)["generator_ema"].values())
    assert "update 2: skipped, because the training images with the indices" in log_of(two)
    rows = list(csv.DictReader((Path(two.run_dir) / "metrics.csv").open()))
    assert rows[1]["health/skipped"] == "1.0"


@pytest.mark.faults
def test_a_nan_loss_is_named(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    original = PerceptualLoss.forward
    monkeypatch.setattr(PerceptualLoss, "forward", lambda self, sr, hr: original(self, sr, hr) * float("nan"))
    cfg = configure(*SRGAN, *PERCEPTUAL, "trainer.max_steps=2")
    train(cfg)
    assert "skipped, because of the losses" in log_of(cfg)
    assert "loss/perceptual=nan" in log_of(cfg)
    assert "loss/pixel" not in log_of(cfg)
    assert all(value.isfinite().all() for value in checkpoint(cfg)["state_dict"].values())


@pytest.mark.faults
@pytest.mark.parametrize("stage", STAGES)
def test_a_rollback_restores_everything_and_lowers_the_rate(configure: Configure, stage: str) -> None:
    """The last good state is from before the last finite update, since its own result is not checked yet."""
    policy = ["callbacks.nonfinite.skips=2", "callbacks.nonfinite.snapshot_interval=1"]
    good = configure(*STAGES[stage], "trainer.max_steps=2", run="good")
    bad = configure(*STAGES[stage], *policy, "trainer.max_steps=5", poison(3, 4), run="bad")
    train(good)
    assert train(bad)["steps"] == 5
    a, b = checkpoint(bad), checkpoint(good)
    assert_same(a, b, "state_dict", "generator_ema")
    for one, other in zip(a["optimizer_states"], b["optimizer_states"], strict=True):
        assert one["param_groups"][0]["lr"] == 0.5 * other["param_groups"][0]["lr"]
    assert "2 updates in a row were not finite" in log_of(bad)
    assert "Continuing from the state of update 2" in log_of(bad)


@pytest.mark.slow
def test_a_lowered_rate_stays_low_on_its_schedule(configure: Configure) -> None:
    fading = "{_target_: hydra.utils.get_method, path: tests.training.test_nonfinite.fade}"
    schedule = f"{{_target_: torch.optim.lr_scheduler.LambdaLR, _partial_: true, lr_lambda: {fading}}}"
    options = [*SRGAN, f"+model.generator_scheduler={schedule}", "trainer.max_steps=4"]
    bad = configure(*options, "callbacks.nonfinite.skips=1", "callbacks.nonfinite.factor=0.1", poison(1))
    train(bad)
    rows = list(csv.DictReader((Path(bad.run_dir) / "metrics.csv").open()))
    rates = [float(row["lr/generator"]) for row in rows if row["lr/generator"]]
    assert rates == pytest.approx([1e-3 * 0.5, 1e-3 * 0.25, 1e-4 * 0.125, 1e-4 * 0.0625])


def fade(step: int) -> float:
    return float(0.5**step)


@pytest.mark.faults
def test_a_run_that_cannot_recover_stops_with_everything_saved(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a rate of 1e30, the second forward pass overflows from any state, also after halving the rate."""
    run = Path(configure().run_dir)
    options = [*SRGAN, "model.generator_optimizer.lr=1e30", "callbacks.nonfinite.skips=2", "trainer.max_steps=100"]
    monkeypatch.setattr(sys, "argv", ["train", f"hydra.run.dir={run}", *options])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "Training stopped at update 12: 2 updates in a row were not finite, after 3 rollbacks" in error
    assert "model.generator_optimizer.lr" in error
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in saved["state_dict"].values())
    assert (run / "generator.safetensors").is_file()
    assert (run / "summary.json").is_file()
    cfg = configure(*SRGAN, f"ckpt_path={run}/checkpoints/last.ckpt", "trainer.max_steps=14", run="resumed")
    assert train(cfg)["steps"] == 14


@pytest.mark.faults
@pytest.mark.slow
def test_processes_decide_alike(run_module: Run, tmp_path: Path) -> None:
    """A fault in one process makes both skip and roll back."""
    done = run_module(
        "train",
        f"hydra.run.dir={tmp_path}/run",
        *SRGAN,
        poison(1, 2, rank=1),
        "callbacks.nonfinite.skips=2",
        "trainer.max_steps=4",
        "trainer.devices=2",
        PYTHONPATH=f"{ROOT / 'src'}{os.pathsep}{ROOT}",  # tests.helpers.poison is not installed
    )
    assert done.returncode == 0, done.stderr
    assert "2 updates in a row were not finite" in done.stdout
    a, b = (torch.load(tmp_path / f"run/rank{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in a.items():
        assert value.isfinite().all()
        assert b[name].isfinite().all()
        assert torch.equal(value, b[name]) or "running" in name, name  # each computes statistics from its batches
