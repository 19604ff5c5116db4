"""Load published weights of other projects with spandrel, without running code from the file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srgan_lightning.networks.contract import validate_generator
from srgan_lightning.networks.spandrel_generator import SpandrelGenerator, generator_of
from srgan_lightning.utils.build_limit import BuildLimit
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.safe_load import safe_torch_load

#: Suffixes of published weights that were written by `torch.save`.
SUFFIXES = (".pth", ".pt")
#: Limits against hostile files. The largest networks have about 3,000 tensors, and layer indices below 100.
MAX_TENSORS = 20_000
MAX_INDEX = 512


def read_foreign(path: Path) -> dict[str, Any]:
    """Read tensors by name, possibly nested under a name such as `params_ema`, from a file of `torch.save`.

    Raises:
        UserError: the file is unreadable, would run code, or does not hold tensors by name.
    """
    try:
        content = safe_torch_load(path)
    except Exception as error:  # pickle, zip and torch errors; no code from the file has run
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be read as tensors by name: {reason}. Code in a file is never run. If the file is yours, "
            "save model.state_dict() with torch.save or safetensors."
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__} instead of tensors by name.")
    return content


def build_foreign(tensors: Mapping[str, Any], path: Path) -> SpandrelGenerator:
    """Build the generator that has these tensors, in float32, on the CPU and in eval mode.

    Args:
        tensors: weights by their published names.
        path: the file that holds them; its size limits the memory for building.

    Raises:
        UserError: spandrel does not know the network, the network does not upscale single images, or the tensors are
            damaged or hostile.
    """
    names = list(_names(tensors))
    indices = (int(part) for name in names for part in name.split(".") if part.isdecimal() and len(part) < 10)
    try:
        if len(names) > MAX_TENSORS or any(index > MAX_INDEX for index in indices):
            raise ValueError(f"it has more than {MAX_TENSORS:,} tensors, or a layer index above {MAX_INDEX}")
        with BuildLimit(path.stat().st_size, len(names)), torch.random.fork_rng(devices=[]):
            generator = generator_of(tensors)
    except UserError as error:
        raise UserError(f"{path} was not written by srgan-lightning, and {error}") from error
    except Exception as error:  # spandrel does not check shapes and names, so it may raise anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"{path} looks like a network that spandrel knows, but cannot be built: {reason}. The file is damaged, or "
            "holds a variant of that network."
        ) from error
    generator = generator.float().eval()
    validate_generator(generator, str(path))
    return generator


def _names(tensors: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    for name, value in tensors.items():
        if isinstance(value, Tensor):
            yield str(name)
        elif isinstance(value, dict) and depth < 3:
            yield from _names(value, depth + 1)
