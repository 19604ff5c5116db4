"""An adversarial term that starts late and rises, and label smoothing."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from omegaconf import DictConfig

from srgan_lightning.artifacts.artifact import read_artifact
from srgan_lightning.losses import AdversarialLoss, GeneratorLoss
from srgan_lightning.losses.ramp import Ramp
from srgan_lightning.train import train
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY_FACES, TINY_SRGAN
from tests.helpers.spy import Spy

Configure = Callable[..., DictConfig]
LATE = ["loss.adversarial_start=2", "loss.adversarial_ramp=2"]


def test_a_ramp_by_hand() -> None:
    assert [Ramp()(update) for update in (0, 1, 1000)] == [1, 1, 1]
    assert [Ramp(3)(update) for update in (0, 2, 3, 4)] == [0, 0, 1, 1]
    assert [Ramp(2, 4)(update) for update in range(8)] == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    cosine = [Ramp(2, 4, "cosine")(update) for update in range(2, 7)]
    assert cosine == pytest.approx([(1 - math.sqrt(0.5)) / 2, 0.5, (1 + math.sqrt(0.5)) / 2, 1, 1])


def test_the_ramp_scales_only_the_adversarial_term() -> None:
    sr, hr, fake = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8), torch.randn(2, 1)
    loss = GeneratorLoss(1, 0, 1e-2, adversarial_start=10, adversarial_ramp=4)
    plain = GeneratorLoss(1, 0, 1e-2)(sr, hr, fake)[1]
    loss.updates = 9
    assert list(loss(sr, hr)[1]) == ["pixel"]
    loss.updates = 12
    total, terms = loss(sr, hr, fake)
    torch.testing.assert_close(terms["adversarial"], 0.75 * plain["adversarial"])
    torch.testing.assert_close(total, plain["pixel"] + terms["adversarial"])


def test_smoothed_labels_are_those_of_the_library() -> None:
    real, fake = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    zeros, labels = torch.zeros_like(real), torch.full_like(real, 0.9)
    bce = F.binary_cross_entropy_with_logits
    smooth = AdversarialLoss("bce", 0.1)
    torch.testing.assert_close(smooth.discriminator(real, fake), bce(real, labels) + bce(fake, zeros))
    assert torch.equal(smooth.generator(fake), AdversarialLoss("bce").generator(fake))
    expected = F.mse_loss(real, labels) + F.mse_loss(fake, zeros)
    torch.testing.assert_close(AdversarialLoss("least_squares", 0.1).discriminator(real, fake), expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"adversarial_start": -1}, "adversarial_start=-1"),
        ({"adversarial_ramp": -5}, "adversarial_ramp=-5"),
        ({"adversarial_ramp_kind": "step"}, "linear, cosine"),
        ({"label_smoothing": 0.5}, "label_smoothing=0.5"),
        ({"label_smoothing": 0.1, "adversarial_kind": "hinge"}, "adversarial_kind=hinge does not"),
    ],
)
def test_invalid_ramps_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        GeneratorLoss(1, 0, 1e-3, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_discriminator_waits_for_its_start(configure: Configure) -> None:
    """Before its start, the discriminator is neither run nor measured, and Health does not warn about it."""
    options = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, *LATE, "loss.label_smoothing=0.1"]
    options += ["callbacks.health.interval=1", "trainer.val_check_interval=2", "trainer.max_steps=5"]
    options += ["model.accumulate_grad_batches=2"]
    cfg = configure(*options)
    train(cfg)
    run = Path(cfg.run_dir)
    rows = [row for row in csv.DictReader((run / "metrics.csv").open()) if row["loss/generator"]]  # one per batch
    for column in ("d_real", "loss/adversarial", "loss/discriminator"):
        assert [bool(row[column]) for row in rows] == 4 * [False] + 6 * [True]
    shares = [float(row["loss/adversarial"]) / cfg.loss.adversarial / math.log(2) for row in rows[4:]]
    assert shares == pytest.approx([0.5, 0.5, 1, 1, 1, 1], rel=0.25)  # bce of logits near 0 is near log 2
    measured = [row["step"] for row in rows if row["health/update_discriminator"]]
    assert sorted(set(measured)) == ["3", "4", "5"]
    log = run / "health.log"  # it may warn of a tint, which a short run leaves
    assert not log.exists() or "the discriminator" not in log.read_text()
    recipe = json.loads(read_artifact(run / "generator.safetensors")[1]["recipe"])["loss"]
    assert (recipe["adversarial_start"], recipe["adversarial_ramp"], recipe["label_smoothing"]) == (2, 2, 0.1)


@pytest.mark.slow
def test_its_weights_do_not_move_before_and_its_schedule_counts_all_updates(
    configure: Configure, recwarn: pytest.WarningsRecorder
) -> None:
    options = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, *LATE, "trainer.max_steps=2"]
    options += ["scheduler@model.discriminator_scheduler=cosine_to_zero", "model.discriminator_optimizer.lr=1e-3"]
    spy = Spy()
    cfg = configure(*options)
    train(cfg, [spy])
    assert not [warning for warning in recwarn if "lr_scheduler" in str(warning.message)]
    rows = csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open())
    rates = {row["step"]: row["lr/discriminator"] for row in rows if row["lr/discriminator"]}
    assert (float(rates["1"]), float(rates["2"])) == pytest.approx((5e-4, 0))
    for name, parameter in spy.module.discriminator.named_parameters():
        assert torch.equal(parameter, spy.start[f"discriminator.{name}"]), name
    assert not torch.equal(spy.module.generator.tail.weight, spy.start["generator.tail.weight"])
