"""The parts of `python -m srgan_lightning.benchmark`; each file measures one thing against its baseline."""
