"""Load the initial weights of a training from the file that `model.init_from` names."""

import json
from typing import Any

from srgan_lightning.artifacts.artifact import (
    check_architecture,
    check_finite,
    read_artifact,
    read_checkpoint,
    without_tables,
)
from srgan_lightning.artifacts.bundled import find_weights
from srgan_lightning.artifacts.foreign import SUFFIXES
from srgan_lightning.artifacts.load import load_trained
from srgan_lightning.networks.contract import SRModule
from srgan_lightning.networks.spandrel_generator import SpandrelGenerator
from srgan_lightning.utils.errors import UserError


def load_generator_weights(generator: SRModule, path: str) -> None:
    """Load weights into a generator from an artifact, a checkpoint or a bundled model.

    A `SpandrelGenerator` can also load published weights.

    Raises:
        UserError: the file is unreadable, has another architecture, or has weights that are not finite.
    """
    metadata: dict[str, Any]
    path = str(find_weights(path, "model.init_from"))
    if isinstance(generator, SpandrelGenerator):
        _load_spandrel_weights(generator, path)
        return
    if path.endswith(SUFFIXES):
        raise UserError(
            f"model.init_from={path}: to train published weights of another project, set model/generator=spandrel."
        )
    if str(path).endswith(".ckpt"):
        weights, metadata = read_checkpoint(path)
        arguments = metadata.get("arguments")
    else:
        weights, metadata = read_artifact(path)
        try:
            arguments = json.loads(metadata.get("arguments", "null"))
        except (ValueError, RecursionError):
            arguments = None
    if not isinstance(arguments, dict):
        raise UserError(f"model.init_from={path} does not describe its generator: use a file that this package wrote.")
    check_architecture(generator, arguments, f"model.init_from={path}")
    try:
        generator.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"model.init_from={path} does not match the generator: {error}") from error
    check_finite(without_tables(generator.state_dict()), path)


def _load_spandrel_weights(generator: SpandrelGenerator, path: str) -> None:
    """Load weights into a spandrel network, also from published files with other tensor names."""
    other = load_trained(path).generator
    if not isinstance(other, SpandrelGenerator) or other.arguments != generator.arguments:
        raise UserError(
            f"model.init_from={path} holds a generator of another architecture: {_described(other)}. This run has "
            f"{_described(generator)}. Set model/generator=spandrel, which uses the architecture of the file."
        )
    generator.load_state_dict(other.state_dict())


def _described(generator: SRModule) -> str:
    facts = {"architecture": type(generator).__name__, **generator.arguments}
    return ", ".join(f"{name}={value}" for name, value in facts.items())
