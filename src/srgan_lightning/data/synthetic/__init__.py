"""`data=synthetic`: procedurally drawn faces."""

from srgan_lightning.data.synthetic.datamodule import SyntheticData

__all__ = ["SyntheticData"]
