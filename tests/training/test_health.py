"""Health names planted faults, and only measures a healthy run."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from srgan_lightning.losses import GeneratorLoss, PerceptualLoss
from srgan_lightning.networks import Discriminator, Generator
from srgan_lightning.train import train
from srgan_lightning.training.callbacks import Health
from srgan_lightning.training.callbacks.health_rules import discriminator_faults, discriminator_wins, term_faults
from srgan_lightning.utils.errors import UserError
from tests.conftest import FaultCounts
from tests.helpers.watched_runs import PERCEPTUAL, SRGAN, STAGES, assert_same, checkpoint, log_of

Configure = Callable[..., DictConfig]


@pytest.fixture(autouse=True)
def count(request: pytest.FixtureRequest, fault_counts: FaultCounts) -> None:
    if request.node.get_closest_marker("faults"):
        fault_counts(faults_planted=1)


@pytest.mark.slow
def test_a_healthy_run_is_quiet_and_measured(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = configure(*SRGAN, "trainer.max_steps=6", "trainer.log_every_n_steps=2", "callbacks.health.patience=0")
    train(cfg)
    assert log_of(cfg) == ""
    assert "Health" not in capsys.readouterr().out
    rows = list(csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open()))
    for key in ("gradient_pixel", "gradient_adversarial", "update_generator", "update_discriminator"):
        assert [row["step"] for row in rows if row[f"health/{key}"]] == ["2", "4", "6"]
        assert all(0 < float(row[f"health/{key}"]) < 0.1 for row in rows if row[f"health/{key}"])


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_monitoring_changes_no_bit(configure: Configure, stage: str) -> None:
    options = [*STAGES[stage], *PERCEPTUAL, "trainer.max_steps=4"]
    options.append("model.accumulate_grad_batches=2" if stage == "srgan" else "trainer.accumulate_grad_batches=2")
    watched = configure(*options, "callbacks.nonfinite.snapshot_interval=1", run="watched")
    alone = configure(*options, "~callbacks.health", "~callbacks.nonfinite", run="alone")
    train(watched)
    train(alone)
    assert_same(checkpoint(watched), checkpoint(alone), "state_dict", "generator_ema")


@pytest.mark.slow
def test_gradients_of_terms_are_theirs(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The measured norms are of each weighted term's gradient with respect to SR."""
    seen: dict[str, float] = {}
    original = GeneratorLoss.forward

    def forward(self: GeneratorLoss, sr: Any, hr: Any, fake: Any = None) -> Any:
        total, terms = original(self, sr, hr, fake)
        for name, term in terms.items():
            seen[name] = torch.autograd.grad(term, sr, retain_graph=True)[0].norm().item()
        return total, terms

    monkeypatch.setattr(GeneratorLoss, "forward", forward)
    cfg = configure(*SRGAN, *PERCEPTUAL, "trainer.max_steps=1")
    train(cfg)
    (row, *_) = csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open())
    assert seen.keys() == {"pixel", "perceptual", "adversarial", "grid"}
    for name, norm in seen.items():
        assert float(row[f"health/gradient_{name}"]) == pytest.approx(norm, rel=1e-5)


@pytest.mark.faults
def test_a_detached_content_loss_is_named(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    original = PerceptualLoss.forward
    monkeypatch.setattr(PerceptualLoss, "forward", lambda self, sr, hr: original(self, sr.detach(), hr))
    cfg = configure(*SRGAN, *PERCEPTUAL, "trainer.max_steps=3")
    train(cfg)
    assert log_of(cfg).count("the perceptual term sends no gradient to the generator") == 1  # not three times
    assert "loss.perceptual=0" in log_of(cfg)


@pytest.mark.faults
@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_zero_learning_rate_is_named(configure: Configure, network: str) -> None:
    """Test a weight that rounds to 0, such as 1e-1000, too."""
    cfg = configure(*SRGAN, "trainer.max_steps=2", f"model.{network}_optimizer.lr=1e-1000")
    train(cfg)
    assert f"the {network}'s learning rate is 0" in log_of(cfg)
    assert f"model.{network}_optimizer.lr" in log_of(cfg)


class NeverSteps(torch.optim.Adam):
    """An optimiser that was forgotten."""

    def step(self, closure: Any = None) -> Any:
        return closure() if closure else None


@pytest.mark.faults
def test_a_discriminator_that_is_not_stepped_is_named(configure: Configure) -> None:
    forgotten = "{_target_: tests.training.test_health.NeverSteps, _partial_: true, lr: 1e-4}"
    cfg = configure(
        *SRGAN,
        "trainer.max_steps=2",
        "~model.discriminator_optimizer",
        f"+model.discriminator_optimizer={forgotten}",
    )
    train(cfg)
    assert "the discriminator has not moved: its update-to-weight ratio is 0" in log_of(cfg)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("network", "advice"),
    [
        (Generator, "The generator is frozen: none of its weights has requires_grad, so it cannot learn. Unfreeze it."),
        (Discriminator, "Unfreeze it, or turn the adversarial term off with loss.adversarial=0."),
    ],
)
def test_a_frozen_discriminator_is_refused(
    network: type[nn.Module], advice: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = network.__init__

    def frozen(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.requires_grad_(False)

    monkeypatch.setattr(network, "__init__", frozen)
    with pytest.raises(UserError, match=f"{network.__name__.lower()} is frozen") as caught:
        train(configure(*SRGAN, "trainer.max_steps=2"))
    assert str(caught.value).endswith(advice)


@pytest.mark.faults
def test_an_exploding_rate_is_named(configure: Configure) -> None:
    cfg = configure(*SRGAN, "trainer.max_steps=3", "model.generator_optimizer.lr=1")
    train(cfg)
    assert "the generator is exploding" in log_of(cfg)
    assert "Lower model.generator_optimizer.lr, now 1." in log_of(cfg)


@pytest.mark.faults
def test_a_discriminator_that_wins_is_named(configure: Configure) -> None:
    """An untrained generator without the bicubic skip produces noise, so the discriminator learns fast."""
    cfg = configure(
        *SRGAN,
        "model.generator.global_skip=none",
        "trainer.max_steps=80",  # the means are those of the last 256 images
        "data.batch_size=8",
        "model.generator_optimizer.lr=1e-8",
        "model.discriminator_optimizer.lr=1e-2",
        "callbacks.health.patience=5",
    )
    train(cfg)
    said = [line for line in log_of(cfg).splitlines() if "the discriminator wins" in line]
    assert len(said) == 1
    assert "D(real)=0.9" in said[0]
    assert "of the last 5 updates" in said[0]
    assert "model.discriminator_optimizer.lr" in said[0]


def test_a_balanced_gan_is_not_reported() -> None:
    assert not discriminator_wins(0.9, 0.1)
    assert not discriminator_wins(0.995, 0.9)
    assert not discriminator_wins(0.02, 0.001)
    assert discriminator_wins(0.96, 0.04)
    assert not list(discriminator_faults(0.99, 0.01, 0.7, 200))
    assert list(discriminator_faults(0.99, 0.01, 0.8, 200))


def test_the_discriminator_is_assessed_by_running_means() -> None:
    """Single batches vary; their means are 0.96 and 0.04, and a batch that is not finite does not count."""
    health = Health(interval=1, patience=4)
    for real, fake in [(1.0, 0.0), (0.92, 0.08), (float("nan"), 0.0), (1.0, 0.0), (0.92, 0.08)] * 40:
        health.opinion.add(torch.tensor(real), torch.tensor(fake), images=8)
    real, fake = health.opinion.means().tolist()
    assert real == pytest.approx(0.96, abs=0.002)
    assert fake == pytest.approx(0.04, abs=0.002)
    resumed = Health(interval=1, patience=4)
    resumed.load_state_dict(health.state_dict())
    assert torch.equal(resumed.opinion.sums, health.opinion.sums)  # type: ignore[arg-type]


@pytest.mark.faults
@pytest.mark.parametrize("normalized", [True, False])
def test_a_term_that_dominates_the_others_is_named(configure: Configure, normalized: bool) -> None:
    options = ["loss.perceptual=1e6", f"loss.vgg.normalize={normalized}"]
    cfg = configure(*SRGAN, *PERCEPTUAL, "trainer.max_steps=2", *options)
    train(cfg)
    assert "the perceptual term dominates all others" in log_of(cfg)
    assert "Lower loss.perceptual" in log_of(cfg)
    assert ("loss.vgg.normalize=true" in log_of(cfg)) != normalized
    usual = {"pixel": 1.0, "perceptual": 0.1, "total_variation": 1e-9}  # as with loss=all_terms
    assert not list(term_faults(usual, "linear", False, 0))
    assert not list(term_faults({"pixel": 1.0}, "bce", False, 0))


@pytest.mark.faults
def test_a_perceptual_term_of_the_wrong_scale_is_named(configure: Configure) -> None:
    """Loss weights for one VGG19 file with the features of another have this effect."""
    cfg = configure(*SRGAN, *PERCEPTUAL, "trainer.max_steps=2", "loss.perceptual=1e-9")
    train(cfg)
    assert "the perceptual term is negligible" in log_of(cfg)
    assert "raise loss.perceptual" in log_of(cfg)


@pytest.mark.parametrize(
    "option", ["health.interval=0", "health.patience=-1", "nonfinite.skips=0", "nonfinite.factor=0"]
)
def test_numbers_out_of_range_are_refused(configure: Configure, option: str) -> None:
    with pytest.raises(Exception, match=option.partition("=")[0].partition(".")[2] + "="):
        train(configure(*SRGAN, f"callbacks.{option}"))
