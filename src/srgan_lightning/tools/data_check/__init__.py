"""Looking a data set over before days are spent on it: `python -m srgan_lightning.check_data`."""
