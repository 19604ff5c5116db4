"""Load a generator from an artifact, a checkpoint, published weights or a bundled model."""

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
    """Load a generator with its metadata, without running code from the file.

    Args:
        weights: a path to an artifact (.safetensors), to a checkpoint of this project (.ckpt) or to published weights
            that spandrel knows (.pth, .pt, .safetensors); a bundled name; or `bicubic`, the baseline at x4. Classes
            outside this package are only called if `allow_architectures` has named them.

    Returns:
        The float32 generator on the CPU in eval mode, the file's stem, and the metadata.

    Raises:
        UserError: the file is missing, corrupt, hostile, or of an unknown architecture.
    """
    if weights == "bicubic":
        # An untrained generator with the bicubic skip computes bicubic interpolation, so it serves as the baseline.
        generator: SRModule = Generator(channels=1, blocks=0, global_skip="bicubic").eval()
        return Trained(generator, "bicubic", {"architecture": "Generator", "arguments": generator.arguments})
    path = find_weights(weights, others=("bicubic",))
    tensors, metadata = _read(path)
    kind = metadata.get("architecture")
    if kind is None or kind == SpandrelGenerator.__name__:
        generator = build_foreign({name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}, path)
        if metadata.setdefault("arguments", generator.arguments) != generator.arguments:
            raise UserError(
                f"{path} does not hold the generator that its metadata describe; it holds {generator.arguments}."
            )
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
    """Load a generator without its metadata; see `load_trained`.

    The generator upscales (B, 3, H, W) RGB in [0, 1] to (B, 3, scale * H, scale * W).
    """
    return load_trained(weights).generator


def stored_scale(path: Path) -> int:
    """Return the scale of an artifact. The artifact is loaded as a check, unless its class is outside this package.

    Raises:
        UserError: the file is damaged, or is not an artifact.
    """
    tensors, metadata = read_artifact(path)
    if metadata.get("architecture") in (Generator.__name__, SpandrelGenerator.__name__):
        return load_trained(path).generator.scale
    check_finite(without_tables(tensors), path)
    scale = metadata.get("scale", "")
    if not (scale.isdecimal() and len(scale) < 4):
        raise UserError(f"{path} has no scale in its metadata.")
    return int(scale)


def load_spandrel(weights: str | None) -> SpandrelGenerator:
    """Load a spandrel network for further training, for model/generator=spandrel.

    Args:
        weights: the value of model.init_from; see `load_trained`.

    Raises:
        UserError: `weights` is None, holds no spandrel network, or holds one that could not be loaded again after
            training.
    """
    if weights is None:
        raise UserError(
            "model/generator=spandrel trains published weights: set model.init_from=FILE (.pth, .safetensors)."
        )
    generator = load_trained(weights).generator
    if not isinstance(generator, SpandrelGenerator):
        raise UserError(
            f"model.init_from={weights} holds no network of spandrel: set the model/generator with which it was "
            "trained instead of model/generator=spandrel."
        )
    state = {name.removeprefix(PREFIX): tensor for name, tensor in generator.state_dict().items()}
    again = build_foreign(state, find_weights(weights))
    if again.arguments != generator.arguments:
        kind = generator.arguments["architecture"]
        raise UserError(
            f"model.init_from={weights}: spandrel cannot detect this variant of {kind} from its weights, so the "
            "trained network could not be loaded again. Use another network."
        )
    return generator.train()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the tensors by name, and the metadata, which are empty for files of other projects."""
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
    # Build on the meta device: a file must not make the program allocate more memory than its tensors need.
    with torch.device("meta"):
        generator = Generator(**arguments)
    generator.load_state_dict(tensors, assign=True)
    return generator.float().to(memory_format=torch.contiguous_format).eval()


def _from_json(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value  # plain text, such as the version
