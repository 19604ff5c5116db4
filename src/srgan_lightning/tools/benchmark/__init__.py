"""The parts of `python -m srgan_lightning.benchmark`, each a file that measures one thing beside its baseline."""
