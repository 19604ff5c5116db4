"""The paper's two networks and another discriminator, as plain modules."""

from srgan_lightning.networks.discriminator import Discriminator
from srgan_lightning.networks.generator import Generator
from srgan_lightning.networks.unet_discriminator import UNetDiscriminator

__all__ = ["Discriminator", "Generator", "UNetDiscriminator"]
