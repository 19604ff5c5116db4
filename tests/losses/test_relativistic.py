"""The relativistic average loss against torch's cross-entropy, and training with it."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from srgan_lightning.losses import AdversarialLoss, GeneratorLoss
from srgan_lightning.networks import Discriminator
from srgan_lightning.train import train
from tests.conftest import TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.spy import Spy

Configure = Callable[..., DictConfig]
KIND = "loss.adversarial_kind=relativistic"
QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, KIND, "model.generator.global_skip=none"]
UNET = ["model/discriminator=unet", "model.discriminator.channels=4", "model.generator.global_skip=none"]
NETWORKS = {"paper": QUICK, "unet": ["experiment=quickstart", *TINY, *TINY_FACES, KIND, *UNET]}
bce = F.binary_cross_entropy_with_logits


@pytest.mark.parametrize("shape", [(5, 1), (2, 1, 4, 6)])
@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_both_sides_are_half_the_cross_entropies_of_relative_logits(shape: tuple[int, ...], smoothing: float) -> None:
    real, fake = 2 * torch.randn(shape) + 1, torch.randn(shape)
    ones, zeros = torch.ones(shape), torch.zeros(shape)
    game = AdversarialLoss("relativistic", smoothing)
    expected = (bce(real - fake.mean(), ones * (1 - smoothing)) + bce(fake - real.mean(), zeros)) / 2
    torch.testing.assert_close(game.discriminator(real, fake), expected)
    expected = (bce(real - fake.mean(), zeros) + bce(fake - real.mean(), ones)) / 2
    torch.testing.assert_close(game.generator(fake, real), expected)


def test_a_constant_added_to_all_logits_changes_nothing() -> None:
    real, fake = torch.randn(5, 1), torch.randn(5, 1)
    game = AdversarialLoss("relativistic")
    torch.testing.assert_close(game.discriminator(real + 7, fake + 7), game.discriminator(real, fake))
    torch.testing.assert_close(game.generator(fake + 7, real + 7), game.generator(fake, real))
    before, after = game.probabilities(real, fake), game.probabilities(real + 7, fake + 7)
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(before[0], torch.sigmoid(real - fake.mean()).mean())


def test_the_generator_learns_through_both_terms_and_hr_gets_no_gradient() -> None:
    real, fake = torch.randn(4, 1, requires_grad=True), torch.randn(4, 1, requires_grad=True)
    AdversarialLoss("relativistic").generator(fake, real).backward()
    assert real.grad is None
    # d/df of softplus(r - mean f) / 2 and softplus(-(f - mean r)) / 2, averaged.
    through_mean = -torch.sigmoid(real - fake.mean()).mean() / 2 / 4
    own = -torch.sigmoid(-(fake - real.mean())) / 2 / 4
    torch.testing.assert_close(fake.grad, (own + through_mean).detach())


def test_logits_of_hr_are_needed() -> None:
    images, logits = torch.rand(2, 3, 4, 4), torch.ones(2, 1)
    loss = GeneratorLoss(0, 0, 1, adversarial_kind="relativistic")
    with pytest.raises(ValueError, match="logits of HR"):
        loss(images, images, logits)
    assert loss(images, images, logits, logits)[0].item() == pytest.approx(math.log(2))


def test_esrgan_is_relativistic(configure: Configure) -> None:
    assert configure("loss=esrgan").loss.adversarial_kind == "relativistic"
    assert configure("loss=real_esrgan").loss.adversarial_kind == "bce"


@pytest.mark.slow
def test_the_generators_step_sees_the_stepped_discriminators_logits_of_hr(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[bool, bool, Tensor]] = []
    original = Discriminator.forward

    def forward(self: Discriminator, image: Tensor) -> Tensor:
        calls.append((image.requires_grad, torch.is_grad_enabled(), image.detach()))
        return original(self, image)

    monkeypatch.setattr(Discriminator, "forward", forward)
    cfg = configure(*QUICK, "trainer.max_steps=1", "trainer.limit_val_batches=0")
    train(cfg)
    assert [call[:2] for call in calls] == [(False, True), (False, True), (True, True), (False, False)]
    assert torch.equal(calls[3][2], calls[0][2])  # HR


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("discriminator", NETWORKS)
def test_it_trains_and_is_monitored(configure: Configure, precision: str, discriminator: str) -> None:
    spy = Spy()
    options = ["trainer.max_steps=3", "trainer.val_check_interval=6", "callbacks.health.interval=1"]
    options += ["model.accumulate_grad_batches=2", f"trainer.precision={precision}"]
    cfg = configure(*NETWORKS[discriminator], *options)
    train(cfg, [spy])
    assert spy.skipped == 0
    for name, parameter in spy.module.named_parameters():
        # The last bias shifts all logits, which cancels. Its gradient is only rounding error.
        last = name in ("discriminator.head.4.bias", "discriminator.conv9.bias")
        assert last or not torch.equal(parameter, spy.start[name]), name
    rows = [row for row in csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open()) if row["d_real"]]
    assert all(abs(float(row["d_real"]) + float(row["d_fake"]) - 1) < 0.05 for row in rows)
    assert all(float(row["health/gradient_adversarial"]) > 0 for row in rows if row["health/gradient_adversarial"])
