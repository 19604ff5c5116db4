"""Weights that other projects published, as generators: whatever spandrel knows, without running code of the file."""

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

#: Endings of files of `torch.save` by which such weights go.
SUFFIXES = (".pth", ".pt")
#: Far beyond the largest networks, which have some 3,000 tensors in sequences of less than 100.
MAX_TENSORS = 20_000
MAX_INDEX = 512


def read_foreign(path: Path) -> dict[str, Any]:
    """What a file of `torch.save` holds: tensors by name, alone or under a name such as `params_ema`.

    Raises:
        UserError: it is unreadable, or would run code.
    """
    try:
        content = safe_torch_load(path)
    except Exception as error:  # pickle, zip and torch errors; none of them has run any code of the file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be read as tensors by name: {reason}. Code of a file is never run: where the file is "
            "one of yours, save model.state_dict() anew, with torch.save or safetensors."
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__}, and no tensors by name.")
    return content


def build_foreign(tensors: Mapping[str, Any], path: Path) -> SpandrelGenerator:
    """The generator that tensors belong to, in float32, on the CPU and in eval mode.

    Args:
        tensors: by their published names.
        path: the file that holds them, whose size bounds what is built.

    Raises:
        UserError: spandrel does not know them, their network is for something else, or they are damaged or hostile.
    """
    names = list(_names(tensors))
    indices = (int(part) for name in names for part in name.split(".") if part.isdecimal() and len(part) < 10)
    try:
        if len(names) > MAX_TENSORS or any(index > MAX_INDEX for index in indices):
            raise ValueError(f"it names {len(names):,} tensors, or parts of a sequence beyond {MAX_INDEX}")
        with BuildLimit(path.stat().st_size, len(names)), torch.random.fork_rng(devices=[]):
            generator = generator_of(tensors)
    except UserError as error:
        raise UserError(f"{path} was not written by srgan-lightning, and {error}") from error
    except Exception as error:  # spandrel reads shapes and names as they come
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"{path} looks like a network that spandrel knows, but cannot be built: {reason}. The file is damaged, or "
            "a variant of that network."
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
