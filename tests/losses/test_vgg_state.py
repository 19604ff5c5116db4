"""VGG is part of the loss, but not of checkpoints."""

from collections.abc import Callable

import lightning
import pytest
import torch
from hydra.utils import instantiate
from lightning import LightningModule, Trainer
from omegaconf import DictConfig

from srgan_lightning.losses import VGGFeatures
from srgan_lightning.train import train
from srgan_lightning.training import SRGAN
from tests.conftest import ALL_TERMS, TINY_FACES, TINY_SRGAN


def build(configure: Callable[..., DictConfig]) -> SRGAN:
    cfg = configure("experiment=quickstart", *TINY_SRGAN, *ALL_TERMS)
    module = instantiate(cfg.model, loss=instantiate(cfg.loss))
    assert isinstance(module, SRGAN)
    return module


def test_vgg_is_a_submodule_without_a_state(configure: Callable[..., DictConfig]) -> None:
    module = build(configure)
    vgg = [part for part in module.modules() if isinstance(part, VGGFeatures)]
    assert len(vgg) == 1
    assert {name.partition(".")[0] for name in module.state_dict()} == {"generator", "discriminator"}
    before = [parameter.clone() for parameter in vgg[0].parameters()]
    module.load_state_dict({name: torch.zeros_like(tensor) for name, tensor in module.state_dict().items()})
    assert all(map(torch.equal, before, vgg[0].parameters()))
    assert not any(parameter.requires_grad for parameter in vgg[0].parameters())


def test_vgg_stays_in_eval_mode(configure: Callable[..., DictConfig]) -> None:
    module = build(configure).train()
    assert module.generator.training
    assert not any(part.training for part in module.loss.perceptual.modules() if part is not module.loss.perceptual)


class Frozen(lightning.Callback):
    """Leave the generator in eval mode, as a bug would."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.get_submodule("generator").eval()


@pytest.mark.slow
@pytest.mark.parametrize("mistake", [False, True])
def test_lightning_warns_of_modules_in_eval_mode_but_not_of_vgg(
    mistake: bool, configure: Callable[..., DictConfig], recwarn: pytest.WarningsRecorder
) -> None:
    cfg = configure("experiment=quickstart", *TINY_SRGAN, *TINY_FACES, *ALL_TERMS, "trainer.max_steps=1")
    train(cfg, [Frozen()] if mistake else [])
    assert any("in eval mode" in str(warning.message) for warning in recwarn) == mistake
