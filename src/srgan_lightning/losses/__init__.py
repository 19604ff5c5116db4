"""Loss terms of generator and discriminator."""

from srgan_lightning.losses.adversarial import AdversarialLoss
from srgan_lightning.losses.generator_loss import GeneratorLoss
from srgan_lightning.losses.perceptual import PerceptualLoss
from srgan_lightning.losses.vgg_features import VGGFeatures

__all__ = ["AdversarialLoss", "GeneratorLoss", "PerceptualLoss", "VGGFeatures"]
