"""Tiny generators in which every layer has an effect, and their files."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from srgan_lightning.artifacts.artifact import save_artifact
from srgan_lightning.networks import Generator

ABOUT: dict[str, Any] = {
    "recipe": {"stage": "SRGAN", "loss": {"pixel": 1.0, "adversarial": 0.001}, "updates": 7},
    "data": {"set": "SyntheticData", "degradation": "Bicubic", "crop": 96},
    "scores": {"psnr_y": 30.125, "ssim_y": 0.9, "psnr_rgb": 29.0, "ssim_rgb": 0.8, "bicubic_psnr_y": 28.5},
    "protocol": {"border": "4 pixels cropped on every side"},
}


def tiny_generator(blocks: int = 2, scale: int = 4, global_skip: str = "none") -> Generator:
    """Return a generator of 8 channels; no BatchNorm statistic or weight of the tail is 0 or 1."""
    generator = Generator(8, blocks, scale, global_skip)
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.bias):
                nn.init.normal_(tensor, 0, 0.2)  # type: ignore[arg-type]
            for tensor in (layer.running_var, layer.weight):
                nn.init.uniform_(tensor, 0.5, 1.5)  # type: ignore[arg-type]
    nn.init.normal_(generator.tail.weight, 0, 0.05)
    return generator.eval()


def tiny_artifact(folder: Path, **arguments: Any) -> Path:
    """Save `tiny_generator` as folder/tiny.safetensors, with metadata of every kind."""
    save_artifact(folder / "tiny.safetensors", tiny_generator(**arguments), ABOUT)
    return folder / "tiny.safetensors"


def tiny_checkpoint(folder: Path, generator: Generator) -> Path:
    """Save a generator like a training checkpoint, as folder/tiny.ckpt."""
    checkpoint = {
        "state_dict": {f"generator.{name}": tensor for name, tensor in generator.state_dict().items()},
        "generator": {"architecture": "Generator", "arguments": generator.arguments, "recipe": ABOUT["recipe"]},
        "scores": ABOUT["scores"],
    }
    torch.save(checkpoint, folder / "tiny.ckpt")
    return folder / "tiny.ckpt"
