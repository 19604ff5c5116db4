"""From `weights=` to a generator: an artifact, a checkpoint of a training run, or a model of the package."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srgan_lightning.artifacts.artifact import check_finite, read_artifact, read_checkpoint
from srgan_lightning.artifacts.bundled import find_weights
from srgan_lightning.networks import Generator
from srgan_lightning.utils.errors import UserError


@dataclass
class Trained:
    """A generator in eval mode, and what its file says of it."""

    generator: Generator
    name: str
    metadata: dict[str, Any] = field(default_factory=dict)


def load_trained(weights: str | Path) -> Trained:
    """Load a generator with its metadata, without unpickling any code.

    Args:
        weights: a path to an artifact (.safetensors) or to a checkpoint of this project (.ckpt), a bundled name, or
            `bicubic`, the baseline at x4.

    Returns:
        The float32 generator on the CPU, in eval mode; the file's stem; its metadata.

    Raises:
        UserError: the file is missing, corrupt, hostile, or of another architecture.
    """
    if weights == "bicubic":
        # Untrained, a generator with the bicubic skip is that skip alone: the baseline, in the shape of all the others.
        generator = Generator(channels=1, blocks=0, global_skip="bicubic").eval()
        return Trained(generator, "bicubic", {"architecture": "Generator", "arguments": generator.arguments})
    path = find_weights(weights, others=("bicubic",))
    tensors: dict[str, Tensor]
    if path.suffix == ".safetensors":
        tensors, encoded = read_artifact(path)
        metadata = {key: _from_json(value) for key, value in encoded.items()}
    else:
        tensors, metadata = read_checkpoint(path)
    if metadata.get("architecture") != Generator.__name__:
        raise UserError(
            f"{path} holds a network of architecture {metadata.get('architecture')}, which this package does not know: "
            "no class is called because a file names it. Build that network yourself and load the run's "
            "generator.safetensors with safetensors.torch.load_file; `train` scores it (test=true) and goes on from it "
            "(model.init_from)."
        )
    try:
        generator = _build(metadata["arguments"], tensors)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, UserError) as error:
        raise UserError(f"{path} does not hold the generator that its metadata describe: {error}") from error
    check_finite(generator.state_dict(), path)
    return Trained(generator, path.stem, metadata)


def load_generator(weights: str | Path) -> Generator:
    """`load_trained`, the network alone: maps (B, 3, H, W) RGB in [0, 1] to (B, 3, scale * H, scale * W)."""
    return load_trained(weights).generator


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
