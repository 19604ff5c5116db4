"""The two networks of the paper, as plain modules."""

from srgan_lightning.networks.discriminator import Discriminator
from srgan_lightning.networks.generator import Generator

__all__ = ["Discriminator", "Generator"]
