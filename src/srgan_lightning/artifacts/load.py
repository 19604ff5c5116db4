"""From `weights=` to a generator: an artifact, a checkpoint of a training run, or a model of the package."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srgan_lightning.artifacts.artifact import (
    FORMAT,
    check_finite,
    read_artifact,
    read_checkpoint,
    read_safetensors,
    without_tables,
)
from srgan_lightning.artifacts.bundled import find_weights
from srgan_lightning.artifacts.foreign import SUFFIXES, build_foreign, read_foreign
from srgan_lightning.artifacts.own_class import build_own
from srgan_lightning.networks import Generator
from srgan_lightning.networks.contract import SRModule
from srgan_lightning.networks.spandrel_generator import PREFIX, SpandrelGenerator
from srgan_lightning.utils.errors import UserError


@dataclass
class Trained:
    """A generator in eval mode, the name of its file, and its metadata."""

    generator: SRModule
    name: str
    metadata: dict[str, Any] = field(default_factory=dict)


def load_trained(weights: str | Path) -> Trained:
    """Load a generator with its metadata, without running code of the file.

    Args:
        weights: a path to an artifact (.safetensors) or to a checkpoint of this project (.ckpt), to weights that others
            published and spandrel knows (.pth, .pt, .safetensors), a bundled name, or `bicubic`, the baseline at x4. A
            class outside of this package is called where `allow_architectures` has named it.

    Returns:
        The float32 generator on the CPU, in eval mode; the file's stem; its metadata.

    Raises:
        UserError: the file is missing, corrupt, hostile, or of an unknown architecture.
    """
    if weights == "bicubic":
        # Untrained, a generator with the bicubic skip is that skip alone: the baseline, in the shape of all the others.
        generator: SRModule = Generator(channels=1, blocks=0, global_skip="bicubic").eval()
        return Trained(generator, "bicubic", {"architecture": "Generator", "arguments": generator.arguments})
    path = find_weights(weights, others=("bicubic",))
    tensors, metadata = _read(path)
    kind = metadata.get("architecture")
    if kind is None or kind == SpandrelGenerator.__name__:
        generator = build_foreign({name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}, path)
        if metadata.setdefault("arguments", generator.arguments) != generator.arguments:
            raise UserError(f"{path} does not hold the generator that its metadata describe: {generator.arguments}")
        metadata["architecture"] = SpandrelGenerator.__name__
    elif kind == Generator.__name__:
        try:
            generator = _build(metadata["arguments"], tensors)
        except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, UserError) as error:
            raise UserError(f"{path} does not hold the generator that its metadata describe: {error}") from error
    else:
        generator = build_own(str(kind), metadata.get("arguments"), tensors, path)
    state = generator.state_dict()
    check_finite(state if kind == Generator.__name__ else without_tables(state), path)
    return Trained(generator, path.stem, metadata)


def load_generator(weights: str | Path) -> SRModule:
    """`load_trained`, the network alone: maps (B, 3, H, W) RGB in [0, 1] to (B, 3, scale * H, scale * W)."""
    return load_trained(weights).generator


def stored_scale(path: Path) -> int:
    """The scale of an artifact, which is loaded for it, unless it is of a class that the user has not named.

    Raises:
        UserError: the file is damaged, or no artifact.
    """
    tensors, metadata = read_artifact(path)
    if metadata.get("architecture") in (Generator.__name__, SpandrelGenerator.__name__):
        return load_trained(path).generator.scale
    check_finite(without_tables(tensors), path)
    scale = metadata.get("scale", "")
    if not (scale.isdecimal() and len(scale) < 4):
        raise UserError(f"{path} does not say its scale.")
    return int(scale)


def load_spandrel(weights: str | None) -> SpandrelGenerator:
    """A network of spandrel to go on training, for model/generator=spandrel.

    Args:
        weights: as `load_trained` takes them; the same as model.init_from.

    Raises:
        UserError: there are none, or they are of another kind.
    """
    if weights is None:
        raise UserError(
            "model/generator=spandrel trains published weights: give model.init_from=FILE (.pth, .safetensors)."
        )
    generator = load_trained(weights).generator
    if not isinstance(generator, SpandrelGenerator):
        raise UserError(
            f"model.init_from={weights} holds no network of spandrel: leave model/generator=spandrel out, and "
            "choose the model/generator that it was trained with."
        )
    state = {name.removeprefix(PREFIX): tensor for name, tensor in generator.state_dict().items()}
    again = build_foreign(state, find_weights(weights))
    if again.arguments != generator.arguments:
        kind = generator.arguments["architecture"]
        raise UserError(
            f"model.init_from={weights}: spandrel does not know this variant of {kind} by its own weights, so that a "
            "training of it could not be loaded again."
        )
    return generator.train()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors by name, and what the file says of them: nothing in one that others published."""
    if path.suffix in SUFFIXES:
        return read_foreign(path), {}
    if path.suffix != ".safetensors":
        tensors, metadata = read_checkpoint(path)
        return tensors, {"architecture": "unknown", **metadata}
    tensors, encoded = read_safetensors(path)
    if not encoded.get("format", "").startswith(FORMAT.partition("/")[0]):
        return tensors, {}
    tensors, encoded = read_artifact(path)
    return tensors, {"architecture": "unknown", **{key: _from_json(value) for key, value in encoded.items()}}


def _build(arguments: dict[str, Any], tensors: dict[str, Tensor]) -> Generator:
    if arguments["blocks"] > len(tensors):
        raise ValueError(f"blocks={arguments['blocks']}, but there are {len(tensors)} tensors")
    # Sizes are only claims until the tensors confirm them: a file must not make us allocate what it does not hold.
    with torch.device("meta"):
        generator = Generator(**arguments)
    generator.load_state_dict(tensors, assign=True)
    return generator.float().to(memory_format=torch.contiguous_format).eval()


def _from_json(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value  # plain text, such as the version
