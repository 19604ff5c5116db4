"""The two stages of training, as LightningModules."""

from srgan_lightning.training.srgan import SRGAN
from srgan_lightning.training.srresnet import SRResNet

__all__ = ["SRGAN", "SRResNet"]
