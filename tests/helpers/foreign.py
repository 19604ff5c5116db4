"""Tiny networks of spandrel with random weights, and their files in published layouts."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

#: The published names of RRDBNet's layers (BasicSR, Real-ESRGAN) by those of the first ESRGAN, which spandrel keeps.
BASICSR = (
    (r"^model\.0\.", "conv_first."),
    (r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
    (r"^model\.1\.sub\.\d+\.", "conv_body."),
    (r"^model\.3\.", "conv_up1."),
    (r"^model\.6\.", "conv_up2."),
    (r"^model\.8\.", "conv_hr."),
    (r"^model\.10\.", "conv_last."),
)


def seeded(network: nn.Module) -> nn.Module:
    """Set random weights with which every layer has an effect."""
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=noise) * (0.3 / max(parameter[0].numel(), 9) ** 0.5))
    return network.eval()


def esrgan(scale: int = 4, **options: Any) -> nn.Module:
    from spandrel.architectures.ESRGAN import ESRGAN

    return seeded(ESRGAN(num_filters=8, num_blocks=1, scale=scale, **options))


def compact(**options: Any) -> nn.Module:
    from spandrel.architectures.Compact import Compact

    return seeded(Compact(num_feat=8, num_conv=2, **options))


def swinir(**options: Any) -> nn.Module:
    from spandrel.architectures.SwinIR import SwinIR

    sizes: dict[str, Any] = {"embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 4, "mlp_ratio": 2.0}
    return seeded(SwinIR(**{**sizes, "img_size": 16, "upsampler": "pixelshuffledirect", "upscale": 2, **options}))


def basicsr_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return RRDBNet's x4 weights with the names of BasicSR and Real-ESRGAN."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in BASICSR:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def save_pth(path: Path, network: nn.Module, under: str | None = None) -> Path:
    """Write a file of `torch.save`, with the weights at the top or under a key such as `params_ema`."""
    state = network.state_dict()
    torch.save(state if under is None else {under: state}, path)
    return path
