"""A winning discriminator is paused until the generator has caught up."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from lightning import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from srgan_lightning.train import train
from srgan_lightning.training.callbacks import Balance
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.mixed_precision import Scaled
from tests.helpers.spy import Spy
from tests.helpers.stops import SRGAN, assert_resumes_exactly, configuration

Configure = Callable[..., DictConfig]
QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.val_check_interval=100"]
ON = ["callbacks.balance.pause_above=0.9", "callbacks.balance.resume_below=0.6", "callbacks.balance.interval=1"]
#: D(HR) and D(SR) by batch. With batches of 256 images, the running means are the batch's own.
GAMES = [(0.6, 0.4), (0.95, 0.05), (0.8, 0.2), (0.7, 0.3), (0.55, 0.45), (0.8, 0.2), (0.99, 0.05)]
#: (1 + real - fake) / 2 is 0.6, 0.95, 0.8, 0.7, 0.55, 0.8, 0.97. The pause begins above 0.9 and ends below 0.6.
PAUSED = [False, True, True, True, False, False, True]


class Planted(Callback):
    """Replace the discriminator's outputs for each batch, and record which network learns from it."""

    def __init__(self, games: list[tuple[float, float]] | None = None) -> None:
        self.games = games
        self.learned: list[bool] = []
        self.moved: list[bool] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.before = [p.detach().clone() for p in pl_module.discriminator.parameters()]  # type: ignore[union-attr, operator]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        values: Any = pl_module.values
        after = list(pl_module.discriminator.parameters())  # type: ignore[union-attr, operator]
        self.moved.append(not all(torch.equal(a, b) for a, b in zip(self.before, after, strict=True)))
        self.learned.append("loss/discriminator" in values and pl_module.latest.keys() >= {"d_real", "d_fake"})  # type: ignore[operator, union-attr]
        if self.games:
            real, fake = self.games[trainer.fit_loop.total_batch_idx % len(self.games)]
            values |= {"d_real": torch.tensor(real), "d_fake": torch.tensor(fake)}


def column(cfg: DictConfig, name: str) -> list[tuple[float, float]]:
    rows = csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open())
    return list(dict.fromkeys((float(row["step"]), float(row[name])) for row in rows if row.get(name)))


@pytest.fixture
def every_batch_counts_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use running means over as many images as a batch has."""
    monkeypatch.setattr("srgan_lightning.training.callbacks.opinion.IMAGES", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("every_batch_counts_whole")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_thresholds_by_hand(configure: Configure, precision: str) -> None:
    cfg = configure(*QUICK, *ON, "trainer.max_steps=8", f"trainer.precision={precision}")
    spy = Planted([*GAMES, (0.5, 0.5)])
    balance = instantiate(cfg.callbacks.balance)  # after the planted values
    cfg.callbacks.balance = None
    train(cfg, [spy, balance])
    # The decision after a batch applies to the next batch; the last decision is the eighth's.
    assert spy.learned == spy.moved == [not paused for paused in [False, *PAUSED]]
    assert [value for _, value in column(cfg, "health/discriminator_paused")] == [*map(float, PAUSED), 0.0]
    told = (Path(cfg.run_dir) / "health.log").read_text().splitlines()
    changes = [line for line in told if "discriminator is" in line]
    assert [line.partition(":")[0] for line in changes] == [f"Health, update {n}" for n in (2, 5, 7, 8)]
    assert "is paused, because it wins (D(real)=0.95, D(fake)=0.05 on average, a measure of 0.95" in changes[0]
    assert "is trained again (D(real)=0.55, D(fake)=0.45 on average, a measure of 0.55" in changes[1]
    assert not [line for line in told if "has not moved" in line]


@pytest.mark.slow
def test_a_paused_discriminator_still_runs_forward(configure: Configure) -> None:
    """It runs on HR and SR, and the generator gets its gradient. Its weights and optimiser do not change."""
    planted = Planted()
    cfg = configure(*QUICK, *ON, "trainer.max_steps=6", "callbacks.balance.pause_above=0.01",
                    "callbacks.balance.resume_below=0.001", "callbacks.health.interval=1")  # fmt: skip
    spy = Spy()
    train(cfg, [planted, spy])
    assert planted.moved == [True] + 5 * [False]
    assert len(spy.stepped["discriminator"]) == 1
    assert len(spy.stepped["generator"]) == 6
    assert len({value for _, value in column(cfg, "d_real")}) == 6
    assert all(value > 0 for _, value in column(cfg, "health/gradient_adversarial"))
    assert spy.module.discriminator_steps == 1
    log = (Path(cfg.run_dir) / "health.log").read_text()
    assert log.count("is paused") == 1
    assert "has not moved" not in log


@pytest.mark.slow
def test_it_never_pauses_by_default(configure: Configure) -> None:
    planted = Planted()
    cfg = configure(*QUICK, "trainer.max_steps=3")
    train(cfg, [planted])
    assert all(planted.moved)
    assert "health/discriminator_paused" not in (Path(cfg.run_dir) / "metrics.csv").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("further", [[], ["model.discriminator_updates=2"]])
def test_a_stopped_run_is_the_uninterrupted_one(tmp_path: Path, further: list[str]) -> None:
    """Stop while the discriminator learns, while it is paused, and during accumulation."""
    overrides = [*SRGAN, *ON, *further, "model.generator.global_skip=none", "model.discriminator_optimizer.lr=1e-2"]
    overrides += ["callbacks.balance.pause_above=0.53", "callbacks.balance.resume_below=0.53"]
    overrides += ["trainer.max_steps=5", "trainer.val_check_interval=50"]
    whole, parts = assert_resumes_exactly(tmp_path, overrides, (2, 6, 7, 11))
    states = [torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (whole, parts)]
    assert states[0]["callbacks"]["Balance"] == states[1]["callbacks"]["Balance"]
    assert 0 < states[0]["discriminator_steps"] < 5 * (1 + len(further))  # it has learned, and it has been paused
    logs = [(run / "health.log").read_text() for run in (whole, parts)]
    assert logs[0].count("is paused") == logs[1].count("is paused") > 0


@pytest.mark.slow
def test_the_scaler_of_16_mixed_supports_a_pause(tmp_path: Path) -> None:
    spy = Spy()
    overrides = [*SRGAN, *ON, "callbacks.balance.pause_above=0.01", "callbacks.balance.resume_below=0.001"]
    train(configuration(tmp_path / "0", [*overrides, "trainer.max_steps=3"]), [Scaled(), spy])
    assert (len(spy.stepped["generator"]), len(spy.stepped["discriminator"])) == (3, 1)
    assert spy.skipped == 0


@pytest.mark.parametrize(
    "options",
    [
        {"pause_above": 0.7},
        {"pause_above": 1.2},
        {"pause_above": 0.9, "resume_below": 0},
        {"pause_above": 0.9, "interval": 0},
    ],
)
def test_invalid_thresholds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"callbacks\.balance"):
        Balance(**options)


@pytest.mark.slow
def test_stage_one_has_nothing_to_pause(configure: Configure) -> None:
    options = ["model=srresnet", "loss=l1", "data=synthetic", *TINY, *TINY_FACES, "trainer.max_steps=1"]
    with pytest.raises(UserError, match="SRResNet has no discriminator"):
        train(configure(*options, "callbacks.balance.pause_above=0.9"))
    assert train(configure(*options, run="other"))["steps"] == 1
