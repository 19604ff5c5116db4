"""Check a data set before training: `python -m srgan_lightning.check_data`."""
