"""SRGAN for faces and photos on PyTorch Lightning and Hydra."""

__version__ = "0.1.0"
