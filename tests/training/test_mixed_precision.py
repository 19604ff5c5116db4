"""Mixed precision trains like float32. 16-mixed runs on the CPU here, with a given scaler."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader

from srgan_lightning.losses import GeneratorLoss
from srgan_lightning.networks import Discriminator, Generator
from srgan_lightning.train import train
from srgan_lightning.training import SRGAN, SRResNet
from tests.conftest import ALL_TERMS, TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.mixed_precision import Scaled
from tests.helpers.spy import Spy

Configure = Callable[..., DictConfig]
QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=3", "trainer.val_check_interval=3"]
UPDATES = 3


class Recorder(lightning.Callback):
    """Record the gradients of each generator update, and the loss scales of the batches.

    Args:
        overflow: make the discriminator's gradients infinite.
    """

    def __init__(self, overflow: bool) -> None:
        self.overflow = overflow
        self.gradients: list[Tensor] = []
        self.scales: list[float] = []

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        self.scales.append(trainer.precision_plugin.scaler.get_scale())

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        if self.overflow:
            for parameter in pl_module.discriminator.parameters():
                if parameter.grad is not None:
                    parameter.grad.fill_(torch.inf)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if optimizer is trainer.optimizers[0]:
            self.gradients.append(torch.cat([p.grad.flatten() for p in pl_module.generator.parameters()]).clone())


def recorded(
    accumulate: int,
    growth_interval: int = 10**6,
    discriminator_rate: float = 0.1,
    overflow: bool = False,
    discriminator_updates: int = 1,
) -> Recorder:
    """Train a few updates with a loss scale that starts at 256 and doubles every `growth_interval` optimiser steps."""
    torch.manual_seed(0)
    optimizers = (partial(torch.optim.SGD, lr=rate) for rate in (0.1, discriminator_rate))
    loss = GeneratorLoss(1, 0, 1e-3)
    module = SRGAN(
        Generator(8, 1),
        Discriminator(4, 2, 8),
        loss,
        *optimizers,  # type: ignore[arg-type, misc]
        accumulate_grad_batches=accumulate,
        discriminator_updates=discriminator_updates,
    )
    batches = [
        {"hr": torch.rand(2, 3, 32, 32), "lr": torch.rand(2, 3, 8, 8), "index": torch.arange(2)}
        for _ in range(UPDATES * accumulate * discriminator_updates)
    ]
    recorder = Recorder(overflow)
    scaler = torch.amp.GradScaler("cpu", init_scale=256, growth_interval=growth_interval)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=UPDATES,
        plugins=[MixedPrecision("16-mixed", "cpu", scaler)],
        callbacks=[recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return recorder


def assert_same(actual: Recorder, expected: Recorder) -> None:
    """Equal up to half precision's rounding, below a hundredth of the largest gradient."""
    assert len(actual.gradients) == len(expected.gradients) == UPDATES
    for one, other in zip(actual.gradients, expected.gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-2 * other.abs().max().item())


@pytest.mark.slow
@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_gradients_do_not_depend_on_when_the_loss_scale_changes(accumulate: int, updates: int) -> None:
    """Double the scale at every step, also while the generator's gradients accumulate."""
    constant = recorded(accumulate, discriminator_updates=updates)
    growing = recorded(accumulate, growth_interval=1, discriminator_updates=updates)
    assert {*constant.scales} == {256}
    assert max(growing.scales) > 256
    assert_same(growing, constant)


@pytest.mark.slow
def test_a_scale_too_large_for_the_discriminator_keeps_the_generators_gradients_right() -> None:
    """Infinite gradients skip its step and halve the scale, while the generator's gradients accumulate."""
    plain, overflowing = recorded(2, discriminator_rate=0), recorded(2, discriminator_rate=0, overflow=True)
    assert overflowing.scales[-1] < plain.scales[-1]
    assert_same(overflowing, plain)


def check_precision(configure: Configure, precision: str, *overrides: str) -> None:
    """Check that all weights move, and the losses are near float32's.

    No update may be skipped, but for those with which the scaler of 16-mixed finds its scale. Of 16-mixed, only the
    first loss is compared, because later ones depend on the skipped updates.
    """
    overrides = (*QUICK, *ALL_TERMS, "model.generator.global_skip=none", *overrides)
    spies = {kind: Spy() for kind in ("32-true", precision)}
    for kind, spy in spies.items():
        train(configure(*overrides, f"trainer.precision={kind}", run=kind), [spy])
        assert spy.skipped < (len(spy.steps) if kind == "16-mixed" else 1)
        networks = ("generator", "discriminator") if spy.module.loss.weights["adversarial"] else ("generator",)
        for name, parameter in spy.module.named_parameters():
            assert not name.startswith(networks) or not torch.equal(parameter.cpu(), spy.start[name].cpu()), name
    compared = slice(1 if precision == "16-mixed" else None)
    assert spies[precision].losses[compared] == pytest.approx(spies["32-true"].losses[compared], rel=5e-3)
    assert spies[precision].losses[-1] != spies[precision].losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("adversarial", ["0", "1e-3"])
def test_precisions_train(configure: Configure, adversarial: str) -> None:
    check_precision(configure, "bf16-mixed", f"loss.adversarial={adversarial}")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_precisions_train_on_a_gpu(configure: Configure, precision: str) -> None:
    overrides = ["trainer.accelerator=gpu", "model.generator_clip=1"]
    if precision == "16-mixed":
        overrides += [f"model.{name}_optimizer.fused=false" for name in ("generator", "discriminator")]
        overrides += ["trainer.max_steps=6"]
    check_precision(configure, precision, *overrides)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["norm", "value"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_stage_one_clips_in_every_precision(configure: Configure, precision: str, algorithm: str) -> None:
    spy, limit = Spy(), 1e-3
    overrides = ["experiment=srresnet_celeba", "data=synthetic", *TINY, *TINY_FACES, "trainer.max_steps=2"]
    overrides += [f"trainer.gradient_clip_val={limit}", f"+trainer.gradient_clip_algorithm={algorithm}"]
    if precision == "16-mixed":
        train(configure(*overrides, "model.generator_optimizer.fused=false"), [spy, Scaled()])
    else:
        train(configure(*overrides, f"trainer.precision={precision}"), [spy])
    for before, seen in zip(spy.gradients["generator"], spy.stepped["generator"], strict=True):
        assert before > 2 * limit
        if algorithm == "norm":
            assert seen == pytest.approx(limit, rel=0.02)
        else:
            assert limit < seen < before


@pytest.mark.slow
def test_a_scaled_gradient_is_not_clipped() -> None:
    """Fused optimisers unscale gradients themselves, after clipping, so Lightning's error stays."""
    module = SRResNet(Generator(4, 1), GeneratorLoss(1, 0, 0), partial(torch.optim.Adam, fused=True))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=1,
        gradient_clip_val=1e-3,
        plugins=[MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batch = {"hr": torch.rand(2, 3, 32, 32), "lr": torch.rand(2, 3, 8, 8), "index": torch.arange(2)}
    with pytest.raises(RuntimeError, match="fused"):
        trainer.fit(module, DataLoader([batch], batch_size=None))  # type: ignore[arg-type]
