"""The discriminator's weights are cast once per update, and never stale."""

from functools import partial
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from srgan_lightning.losses import GeneratorLoss
from srgan_lightning.networks import Discriminator, Generator
from srgan_lightning.training import SRGAN
from srgan_lightning.training.autocast_cache import shared_casts


class RecordingDiscriminator(Discriminator):
    """A discriminator that keeps the images, weights and logits of each forward pass."""

    def __init__(self) -> None:
        super().__init__(4, 2, 8)
        self.calls: list[tuple[Tensor, dict[str, Tensor], Tensor]] = []

    def forward(self, image: Tensor) -> Tensor:
        weights = {name: tensor.detach().clone() for name, tensor in self.state_dict().items()}
        logits = super().forward(image)
        self.calls.append((image.detach(), weights, logits.detach()))
        return logits


class CastCounter(TorchDispatchMode):
    """Count the casts to bf16 of tensors of one shape."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape, self.casts = shape, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and kwargs.get("dtype") == torch.bfloat16:
            self.casts += args[0].shape == self.shape
        return func(*args, **kwargs)


def train_one_update(precision: str) -> tuple[RecordingDiscriminator, int]:
    """Train one update of both networks; return the discriminator, and how often its dense layer was cast."""
    torch.manual_seed(0)
    discriminator = RecordingDiscriminator()
    slow, fast = (partial(torch.optim.SGD, lr=lr) for lr in (1e-3, 1.0))
    module = SRGAN(Generator(8, 1), discriminator, GeneratorLoss(1, 0, 1e-3), slow, fast)  # type: ignore[arg-type]
    batch = {"hr": torch.rand(2, 3, 32, 32), "lr": torch.rand(2, 3, 8, 8), "index": torch.arange(2)}
    options = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(accelerator="cpu", precision=precision, max_steps=1, **options)  # type: ignore[arg-type]
    with CastCounter(discriminator.head[2].weight.shape) as counter:
        trainer.fit(module, DataLoader([batch], batch_size=None))  # type: ignore[arg-type]
    return discriminator, counter.casts


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "casts"), [("bf16-mixed", 2), ("32-true", 0)])
def test_hr_and_sr_share_the_casts_of_the_discriminators_update(precision: str, casts: int) -> None:
    """Its update casts each weight once, for HR and SR together; the generator's update casts the new weights."""
    discriminator, counted = train_one_update(precision)
    assert len(discriminator.calls) == 3
    assert counted == casts


@pytest.mark.slow
def test_the_generators_loss_comes_from_the_updated_discriminator() -> None:
    discriminator, _ = train_one_update("bf16-mixed")
    before, (image, weights, logits) = discriminator.calls[0][1], discriminator.calls[2]
    fresh = Discriminator(4, 2, 8)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(logits, functional_call(fresh, weights, image), rtol=0, atol=0)
        stale = functional_call(fresh, before, image)
    assert (logits - stale).abs().min() > 0.01


def test_a_later_block_casts_changed_weights_again() -> None:
    layer, x = torch.nn.Linear(3, 2, bias=False), torch.ones(1, 3)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        for value in (1.0, 2.0):
            with torch.no_grad():
                layer.weight.fill_(value)
            with shared_casts(x.device):
                assert layer(x).tolist() == [[3 * value] * 2]
