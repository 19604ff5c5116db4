"""The paper's two networks, another discriminator and what it is shown, as plain modules; what any generator is."""

from srgan_lightning.networks.contract import SRModule, SuperResolver
from srgan_lightning.networks.diff_augment import DiffAugment
from srgan_lightning.networks.discriminator import Discriminator
from srgan_lightning.networks.generator import Generator
from srgan_lightning.networks.unet_discriminator import UNetDiscriminator

__all__ = ["DiffAugment", "Discriminator", "Generator", "SRModule", "SuperResolver", "UNetDiscriminator"]
