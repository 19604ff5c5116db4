"""SRGAN for faces and photos on PyTorch Lightning and Hydra."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_generator", "upscale_image"]

if TYPE_CHECKING:
    from srgan_lightning.artifacts.load import load_generator
    from srgan_lightning.inference.upscaling import upscale_image


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import srgan_lightning`, with which every command starts, does not import torch.
    if name == "load_generator":
        from srgan_lightning.artifacts.load import load_generator

        return load_generator
    if name == "upscale_image":
        from srgan_lightning.inference.upscaling import upscale_image

        return upscale_image
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
