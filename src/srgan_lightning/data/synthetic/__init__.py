"""Faces drawn by the program: `data=synthetic`."""

from srgan_lightning.data.synthetic.datamodule import SyntheticData

__all__ = ["SyntheticData"]
