"""Learning rates with warm-up, against torch's schedules, uninterrupted and resumed."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from srgan_lightning.train import train
from srgan_lightning.training.warmup import WarmupCosine
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY_FACES, TINY_SRGAN
from tests.helpers.poison import poison

Configure = Callable[..., DictConfig]
QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES]
GENERATOR = ["scheduler@model.generator_scheduler=warmup_cosine", "model.generator_scheduler.warmup=2"]
DISCRIMINATOR = ["scheduler@model.discriminator_scheduler=warmup", "model.discriminator_scheduler.total_iters=3"]


def optimizer(rate: float = 1.0) -> SGD:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def rates(scheduler: LRScheduler, updates: int) -> list[float]:
    """Return the learning rate of each update, from the first on."""
    seen = []
    for _ in range(updates):
        seen.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize(("length", "warmup"), [(10, 3), (100, 20), (7, 1)])
def test_it_is_torchs_linear_rise_and_cosine_in_sequence(length: int, warmup: int) -> None:
    plain = optimizer(0.3)
    parts = [
        LinearLR(plain, start_factor=1 / (warmup + 1), total_iters=warmup),
        CosineAnnealingLR(plain, T_max=length - warmup, eta_min=0.01),
    ]
    expected = rates(SequentialLR(plain, parts, milestones=[warmup]), length + 1)
    actual = rates(WarmupCosine(optimizer(0.3), length, warmup, 0.01), length + 1)
    assert actual == pytest.approx(expected)
    assert max(actual) == actual[warmup] == 0.3
    assert actual[0] == 0.3 / (warmup + 1)


def test_without_warmup_it_is_the_cosine_and_stays_at_its_end() -> None:
    expected = rates(CosineAnnealingLR(optimizer(), T_max=9, eta_min=0.1), 10)
    assert rates(WarmupCosine(optimizer(), 9, eta_min=0.1), 12) == pytest.approx([*expected, 0.1, 0.1])


def test_a_training_may_end_within_its_warmup() -> None:
    assert rates(WarmupCosine(optimizer(), 2, 4), 2) == pytest.approx([0.2, 0.4])


def test_a_negative_warmup_is_refused() -> None:
    with pytest.raises(UserError, match="warmup=-1"):
        WarmupCosine(optimizer(), 10, -1)


def logged(run: Path, name: str) -> list[float]:
    """Return the rate of the next update after each update."""
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    return [float(row[f"lr/{name}"]) for row in rows if row[f"lr/{name}"]]


@pytest.mark.slow
def test_both_networks_warm_up(configure: Configure) -> None:
    options = ["trainer.max_steps=5", "model.generator_optimizer.lr=1", "model.discriminator_optimizer.lr=3"]
    options += ["model.generator_scheduler.eta_min=0", "callbacks.nonfinite=null"]
    cfg = configure(*QUICK, *GENERATOR, *DISCRIMINATOR, *options)
    train(cfg)
    assert logged(Path(cfg.run_dir), "generator") == pytest.approx([2 / 3, 1, 0.75, 0.25, 0])
    shares = [0.002 + 0.998 * min(update, 3) / 3 for update in range(1, 6)]
    assert logged(Path(cfg.run_dir), "discriminator") == pytest.approx([3 * share for share in shares])


@pytest.mark.slow
def test_a_rate_that_a_rollback_has_lowered_stays_low(configure: Configure) -> None:
    options = ["trainer.max_steps=4", "model.generator_optimizer.lr=1e-3", "model.generator_scheduler.eta_min=0"]
    options += ["callbacks.nonfinite.skips=1", "callbacks.nonfinite.factor=0.1", poison(1)]
    cfg = configure(*QUICK, *GENERATOR, *options)
    train(cfg)
    assert logged(Path(cfg.run_dir), "generator") == pytest.approx([2e-3 / 3, 1e-3, 5e-5, 0])  # logged, then lowered


@pytest.mark.slow
def test_a_longer_run_and_warmup_continue_as_if_set_from_the_start(configure: Configure) -> None:
    """`reapply_scheduler_options` computes the rates anew."""

    def run(name: str, *options: str, **settings: Any) -> list[float]:
        cfg = configure(*QUICK, *GENERATOR, "model.generator_scheduler.eta_min=0", *options, run=name)
        train(cfg)
        return logged(Path(cfg.run_dir), "generator")

    longer = ["trainer.max_steps=8", "model.generator_scheduler.warmup=4"]
    run("parts", "trainer.max_steps=3")
    resumed = run("parts", *longer, "ckpt_path=last")
    assert resumed[3:] == pytest.approx(run("whole", *longer)[3:])
