"""The R1 penalty against gradients by hand, its interval, and training with it."""

import copy
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from srgan_lightning.artifacts.artifact import read_artifact
from srgan_lightning.losses import GeneratorLoss
from srgan_lightning.losses.r1 import R1
from srgan_lightning.networks import Discriminator, UNetDiscriminator
from srgan_lightning.train import train
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY_FACES, TINY_SRGAN
from tests.helpers.mixed_precision import Scaled
from tests.helpers.spy import Spy

Configure = Callable[..., DictConfig]
QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.val_check_interval=8"]


class Squares(nn.Module):
    """D(x) = sum of a x^2: its gradient is 2 a x, and that of the penalty is as easy to derive."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(3, 4, 4))
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        logit = (self.a * x.square()).sum((1, 2, 3))
        return logit.view(-1, *(1 for _ in self.shape)).expand(-1, *self.shape)


@pytest.mark.parametrize("shape", [(), (1,), (1, 5, 3)])
def test_it_is_the_papers_formula_for_logits_of_any_shape(shape: tuple[int, ...]) -> None:
    network, hr = Squares(shape), torch.rand(6, 3, 4, 4)
    penalty = R1(10, 16)(network, hr)
    a = network.a.detach()
    expected = 16 * 10 / 2 * sum((2 * a * image).square().sum() for image in hr) / 6
    torch.testing.assert_close(penalty, expected)
    penalty.backward()
    torch.testing.assert_close(network.a.grad, 16 * 10 / 2 * 8 * a * hr.square().mean(0))


@pytest.mark.parametrize("network", [Discriminator(4, 2, 8), UNetDiscriminator(4)], ids=["paper", "unet"])
def test_the_discriminators_are_penalised_for_their_slope(network: nn.Module) -> None:
    """The gradient matches finite differences, and reaches every parameter except the last bias."""
    torch.manual_seed(1)
    hr = torch.rand(2, 3, 16, 16)
    moved = hr.double().requires_grad_()
    (slope,) = torch.autograd.grad(2 * copy.deepcopy(network).double()(moved).mean(), moved)
    penalty = R1(3, 4)(network, hr)
    torch.testing.assert_close(penalty.double(), 6 * slope.square().sum((1, 2, 3)).mean(), rtol=1e-3, atol=0)
    penalty.backward()
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
    assert hr.grad is None


def test_a_step_against_the_penalty_lowers_it() -> None:
    network, hr = Discriminator(4, 2, 8), torch.rand(4, 3, 32, 32)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    before = R1(1, 1)(network, hr)
    before.backward()
    optimizer.step()
    assert R1(1, 1)(network, hr) < before


def test_it_is_computed_in_float32() -> None:
    network, hr = UNetDiscriminator(4).eval(), torch.rand(2, 3, 16, 16)
    expected = R1(10)(network, hr)
    with torch.autocast("cpu", torch.bfloat16):
        actual = R1(10)(network, hr)
    assert actual.dtype == torch.float32
    assert torch.equal(actual, expected)


@pytest.mark.slow
def test_a_compiled_discriminator_is_penalised_uncompiled() -> None:
    """torch.compile does not support second derivatives."""
    network, hr = UNetDiscriminator(2).eval(), torch.rand(2, 3, 16, 16)
    expected = R1(10)(network, hr)
    network.compile(backend="aot_eager")
    network(hr).sum().backward()
    network.zero_grad()
    penalty = R1(10)(network, hr)
    penalty.backward()
    assert torch.equal(penalty, expected)
    assert network.conv3.weight_orig.grad is not None


def test_it_is_due_in_multiples_of_its_interval() -> None:
    assert [update for update in range(1, 50) if R1(1, 16).due(update - 1)] == [16, 32, 48]
    assert all(R1(1, 1).due(updates) for updates in range(3))
    assert not any(R1(0, 1).due(updates) for updates in range(3))


@pytest.mark.parametrize("options", [{"r1": -1}, {"r1": float("nan")}, {"r1": 1, "r1_interval": 0}])
def test_numbers_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"loss\.r1"):
        GeneratorLoss(1, 0, 1e-3, **options)


@pytest.mark.slow
def test_lazy_penalties_are_in_the_log_and_in_the_discriminators_gradient(configure: Configure) -> None:
    """R1 is in each batch of updates 2 and 4, and never in the generator's gradient."""
    spies = {name: Spy() for name in ("with", "without")}
    options = [*QUICK, "model.accumulate_grad_batches=2", "trainer.max_steps=4"]
    cfg = configure(*options, "loss.r1=1e4", "loss.r1_interval=2", run="with")
    train(cfg, [spies["with"]])
    train(configure(*options, run="without"), [spies["without"]])
    rows = list(csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open()))
    first = {row["health/r1"]: float(row["batch"]) for row in reversed(rows) if row["health/r1"]}  # repeated later
    assert sorted(first.values()) == [3, 4, 7, 8]
    assert all(float(row["loss/discriminator"]) < 2 for row in rows if row["loss/discriminator"])
    assert all(float(row["health/r1"]) > 2 for row in rows if row["health/r1"])
    norms, plain = (spies[name].gradients for name in ("with", "without"))
    assert norms["discriminator"][0] == plain["discriminator"][0]
    assert norms["discriminator"][1] > 2 * plain["discriminator"][1]
    assert norms["generator"][:2] == pytest.approx(plain["generator"][:2], rel=1e-3)
    recipe = json.loads(read_artifact(Path(cfg.run_dir) / "generator.safetensors")[1]["recipe"])["loss"]
    assert (recipe["r1"], recipe["r1_interval"]) == (1e4, 2)


@pytest.mark.slow
def test_half_precision_penalises_alike(configure: Configure) -> None:
    spies = {kind: Spy() for kind in ("32-true", "bf16-mixed", "16-mixed")}
    options = [*QUICK, "loss.r1=100", "loss.r1_interval=1", "trainer.max_steps=1", "model.discriminator_clip=null"]
    options += [f"model.{name}_optimizer.fused=false" for name in ("generator", "discriminator")]
    for kind, spy in spies.items():
        precision = "32-true" if kind == "16-mixed" else kind
        scaled: list[lightning.Callback] = [Scaled()] if kind == "16-mixed" else []
        train(configure(*options, f"trainer.precision={precision}", run=kind), [spy, *scaled])
        assert spy.skipped == 0
    (expected,) = spies["32-true"].stepped["discriminator"]
    assert expected > 0.1
    for spy in spies.values():
        assert spy.stepped["discriminator"] == pytest.approx([expected], rel=2e-2)


@pytest.mark.slow
def test_it_is_off_unless_chosen(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(R1, "__call__", lambda *arguments: calls.append(arguments))
    train(configure(*QUICK, "trainer.max_steps=2", "loss.r1_interval=1"))
    assert not calls
