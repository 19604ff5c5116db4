"""The reference implementation of a training step: a competent port of the paper in the style of tutorials.

It runs eagerly in float32 with contiguous memory format, makes the LR images one by one on the CPU, and uses unfused
optimisers. Each of the two updates has its own forward pass of the generator. The generator's update also computes
gradients of the discriminator, which are discarded.
"""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from srgan_lightning.data.augmentation import augment
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.networks import Generator
from srgan_lightning.training import SRGAN, SRResNet


class ReferenceGenerator(Generator):
    """The paper's generator layer by layer, with the last convolution at full size."""

    def upsample(self, features: Tensor) -> Tensor:
        residual: Tensor = self.tail(self.upsampler(features))
        return residual


def textbook_optimizer(factory: Callable[..., Optimizer], network: nn.Module) -> Optimizer:
    """Make an optimiser with the options of a module's factory, but without `fused`."""
    assert isinstance(factory, partial), "Hydra makes partials"
    options = {key: value for key, value in factory.keywords.items() if key != "fused"}
    return factory.func(network.parameters(), **options)  # type: ignore[no-any-return]


class ReferenceStep:
    """The reference updates, with copies of a module's networks, losses and optimisers.

    Args:
        module: SRResNet or SRGAN, before training.
        degradation: makes LR from HR.
        device: the device of the networks.
    """

    def __init__(self, module: SRResNet | SRGAN, degradation: Bicubic, device: torch.device) -> None:
        self.device, self.degradation = device, degradation
        self.generator: nn.Module = copy.deepcopy(module.generator).to(device)
        if isinstance(module.generator, Generator):
            self.generator = ReferenceGenerator(**module.generator.arguments).to(device)
            self.generator.load_state_dict(module.generator.state_dict())
        self.loss = copy.deepcopy(module.loss).to(device)
        self.generator_optimizer = textbook_optimizer(module.optimizer_factory, self.generator)
        self.discriminator: nn.Module | None = None
        if isinstance(module, SRGAN) and module.loss.weights["adversarial"]:
            self.discriminator = copy.deepcopy(module.discriminator).to(device)
            self.discriminator_optimizer = textbook_optimizer(
                module.discriminator_optimizer_factory, self.discriminator
            )

    def step(self, batch: dict[str, Tensor]) -> None:
        """Update the generator once, and before it the discriminator if the module uses one.

        Args:
            batch: a batch of the training data, on the CPU.
        """
        whole = augment(batch["hr"], batch).float() / 255
        pairs = zip(whole, batch["degradation_u"], strict=True)
        lr = torch.stack([self.degradation(hr[None], u[None])[0] for hr, u in pairs]).to(self.device)
        hr = whole.to(self.device)

        if self.discriminator is not None:
            self.discriminator_optimizer.zero_grad()
            real, fake = self.discriminator(hr), self.discriminator(self.generator(lr).detach())
            self.loss.gan.discriminator(real, fake).backward()  # type: ignore[no-untyped-call]
            self.discriminator_optimizer.step()

        self.generator_optimizer.zero_grad()
        sr = self.generator(lr)
        logits = [] if self.discriminator is None else [self.discriminator(sr)]
        if self.discriminator is not None and self.loss.gan.relativistic:
            logits.append(self.discriminator(hr))
        loss, _ = self.loss(sr, hr, *logits)
        loss.backward()
        self.generator_optimizer.step()
