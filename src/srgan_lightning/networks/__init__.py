"""Generators, discriminators and their augmentation as plain modules, and the contract of a generator."""

from srgan_lightning.networks.contract import SRModule, SuperResolver
from srgan_lightning.networks.diff_augment import DiffAugment
from srgan_lightning.networks.discriminator import Discriminator
from srgan_lightning.networks.generator import Generator
from srgan_lightning.networks.unet_discriminator import UNetDiscriminator

__all__ = ["DiffAugment", "Discriminator", "Generator", "SRModule", "SuperResolver", "UNetDiscriminator"]
