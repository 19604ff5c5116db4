"""Save and load a run's discriminator, so that a later training can start with both networks."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from srgan_lightning import __version__
from srgan_lightning.artifacts.artifact import (
    FORMAT,
    architecture_of,
    check_architecture,
    check_finite,
    load_checkpoint,
    network_weights,
    read_artifact,
)
from srgan_lightning.networks.contract import plain_arguments
from srgan_lightning.runs.checkpoint_checks import first_misfit
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.files import write_atomically
from srgan_lightning.utils.safe_load import safe_torch_load

SETTING = "model.discriminator_init_from"


def describe_discriminator(discriminator: nn.Module) -> dict[str, Any]:
    """Return class and arguments of a discriminator, for checkpoints.

    The arguments are None for a user's class without plain `arguments`.
    """
    return {"architecture": architecture_of(discriminator), "arguments": plain_arguments(discriminator)}


def write_discriminator(path: Path, checkpoint: str | Path) -> None:
    """Write the discriminator of a checkpoint atomically; do nothing if none was trained.

    The file gets the training weights, because only the generator has an EMA.

    Args:
        path: a .safetensors file.
        checkpoint: a checkpoint of this run.

    Raises:
        UserError: see `artifact.load_checkpoint`.
    """
    content = load_checkpoint(checkpoint)
    weights, recipe = network_weights(content, "discriminator"), content["generator"]["recipe"]
    if not weights or "adversarial" not in recipe.get("loss", {}):
        return
    metadata = content.get("discriminator", {})  # absent from checkpoints of release 0.1.0
    metadata = {
        **{key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()},
        "format": FORMAT,
        "version": __version__,
        "network": "discriminator",
        "recipe": json.dumps(recipe),
    }
    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()}
    write_atomically(path, save(tensors, metadata))


def load_discriminator_weights(discriminator: nn.Module, path: str) -> None:
    """Load weights into a discriminator from a file.

    Args:
        discriminator: the network; changed in place.
        path: `discriminator.safetensors` of a run, a checkpoint of stage two (.ckpt), or published tensors by name
            (.pth, at the top level or under `params`).

    Raises:
        UserError: the file is missing, cannot be read without running code, or has another architecture.
    """
    setting = f"{SETTING}={path}"
    if not Path(path).is_file():
        raise UserError(f"{setting}: no such file (looked in {Path(path).absolute()}).")
    weights, metadata = _read(Path(path), setting)
    ours = describe_discriminator(discriminator)
    theirs = metadata.get("architecture", ours["architecture"])
    if theirs != ours["architecture"]:
        raise UserError(
            f"{setting} holds a discriminator of another architecture: {theirs}. This run has "
            f"{ours['architecture']}. Set model/discriminator=... to the same architecture."
        )
    if isinstance(metadata.get("arguments"), dict) and ours["arguments"] is not None:
        check_architecture(discriminator, metadata["arguments"], setting, "discriminator")
    if misfit := first_misfit(discriminator.state_dict(), weights):
        raise UserError(f"{setting} holds a discriminator of another architecture: {misfit}.")
    try:
        discriminator.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{setting} does not match the discriminator: {error}") from error
    check_finite({name: t for name, t in discriminator.state_dict().items() if t.is_floating_point()}, path)


def _read(path: Path, setting: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights, and the metadata with the discriminator's class and arguments."""
    if path.suffix == ".safetensors":
        weights, metadata = read_artifact(path, "discriminator")
        try:
            arguments = json.loads(metadata.get("arguments", "null"))
        except (ValueError, RecursionError):
            arguments = None
        return weights, {**metadata, "arguments": arguments}
    if path.suffix == ".ckpt":
        checkpoint = load_checkpoint(path)
        weights, saved = network_weights(checkpoint, "discriminator"), checkpoint.get("discriminator")
        if not weights:
            raise UserError(f"{setting} is a checkpoint without a discriminator: use one of stage two (model=srgan).")
        return weights, saved if isinstance(saved, dict) else {}
    try:
        content = safe_torch_load(path)
    except Exception as error:  # pickle, zip and torch errors; no code from the file has run
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{setting} cannot be read as tensors by name: {reason}") from error
    content = content.get("params", content) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        raise UserError(f"{setting} does not hold tensors by name.")
    return content, {}
