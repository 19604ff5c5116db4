"""A trained generator as one file: safetensors with its architecture, recipe and scores as text."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from srgan_lightning import __version__
from srgan_lightning.networks.contract import SRModule
from srgan_lightning.networks.spandrel_generator import PREFIX, SpandrelGenerator
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.files import write_atomically
from srgan_lightning.utils.safe_load import safe_torch_load

FORMAT = "srgan-lightning/1"
#: End of the error message for a file of another kind.
KINDS = "Give a .safetensors or .ckpt file of a run, or published weights (.safetensors, .pth, .pt)."

#: Prefix of a marker tensor whose name states the global skip of the generator. The skip has no weights, so without the
#: marker, tools that see only tensors, such as spandrel, could not detect it. A generator without a skip has no marker.
SKIP_MARKER = "global_skip."


def save_artifact(path: str | Path, generator: SRModule, metadata: dict[str, Any]) -> None:
    """Write generator weights and metadata, whole or not at all.

    Args:
        path: a .safetensors file.
        generator: the network; its `arguments` are written too.
        metadata: JSON values by name, such as `recipe`, `data`, `scores`.
    """
    write_artifact(path, generator.state_dict(), architecture_of(generator), generator.arguments, metadata)


def architecture_of(generator: nn.Module) -> str:
    """Return the class name of a network, or `module.Class` for a class outside this package.

    The module is needed because a user's class may also be called `Generator`.
    """
    kind = type(generator)
    ours = kind.__module__.startswith(f"{__package__.partition('.')[0]}.")
    return kind.__name__ if ours else f"{kind.__module__}.{kind.__qualname__}"


def write_artifact(
    path: str | Path, weights: dict[str, Tensor], architecture: str, arguments: dict[str, Any], metadata: dict[str, Any]
) -> None:
    """Write an artifact from its parts; see `save_artifact`."""
    metadata = describe(architecture, arguments, metadata)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    if architecture == SpandrelGenerator.__name__:
        tensors = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    skip = arguments.get("global_skip", "none")
    if skip != "none":
        tensors[SKIP_MARKER + skip] = torch.ones(1, dtype=torch.uint8)
    write_atomically(path, save(tensors, metadata))


def describe(architecture: str, arguments: dict[str, Any], metadata: dict[str, Any]) -> dict[str, str]:
    """Return the metadata of an artifact as text by name; values that are not text become JSON."""
    return {
        "format": FORMAT,
        "version": __version__,
        "architecture": architecture,
        "arguments": json.dumps(arguments),
        "scale": str(arguments.get("scale")),
        "colour_range": "RGB 0..1",
        **{key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()},
    }


def read_artifact(path: str | Path, network: str = "generator") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read weights and metadata of an artifact.

    Args:
        path: a .safetensors file.
        network: the network that the file must hold, `generator` or `discriminator`.

    Raises:
        UserError: the file is missing or damaged, is not an artifact of this package, or holds the other network.
    """
    weights, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path} was not written by srgan-lightning: its metadata lack format={FORMAT}.")
    held = metadata.get("network", "generator")
    if held != network:
        raise UserError(f"{path} holds a {held}: give the {network}.safetensors of the same run here.")
    return {name: tensor for name, tensor in weights.items() if not name.startswith(SKIP_MARKER)}, metadata


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata of a safetensors file of any origin.

    Raises:
        UserError: the file is missing or damaged.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file (looked in {Path(path).absolute()}).")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is not a complete safetensors file: {error}.") from error


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the generator's weights and their metadata from a training checkpoint; prefer the EMA weights if present.

    Raises:
        UserError: the file is missing, cannot be read without running code, or is not a checkpoint of this package.
    """
    checkpoint = load_checkpoint(path)
    weights = checkpoint.get("generator_ema") or network_weights(checkpoint, "generator")
    return weights, {**checkpoint["generator"], "scores": checkpoint.get("scores", {})}


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a whole training checkpoint, which must have `state_dict` and `generator`.

    Raises:
        UserError: see `read_checkpoint`.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file (looked in {Path(path).absolute()}).")
    try:
        checkpoint: dict[str, Any] = safe_torch_load(path)
    except Exception as error:  # pickle, zip and torch errors; no code from the file has run
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a checkpoint: {reason}. {KINDS}") from error
    parts = [checkpoint.get(key) for key in ("state_dict", "generator")] if isinstance(checkpoint, dict) else [None]
    if not all(isinstance(part, dict) for part in parts):
        raise UserError(f"{path} is not a checkpoint of srgan-lightning. {KINDS}")
    return checkpoint


def network_weights(checkpoint: dict[str, Any], network: str) -> dict[str, Tensor]:
    """Return the state dict of one network in a checkpoint; empty if the checkpoint lacks that network."""
    return {
        name.removeprefix(f"{network}."): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if str(name).startswith(f"{network}.")
    }


def without_tables(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop integer tensors, such as the index tables of attention, which the network itself computes."""
    return {name: tensor for name, tensor in weights.items() if tensor.is_floating_point() or tensor.is_complex()}


def check_finite(weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise UserError for weights that are not finite floating-point numbers, and for variances below 0.

    Such weights would give black images.
    """
    for name, tensor in weights.items():
        if name.endswith("running_var") and (tensor < 0).any():
            raise UserError(
                f"{path}: BatchNorm's variances in {name} are below 0, which is impossible. The file is damaged: use "
                "another one."
            )
        if not name.endswith("num_batches_tracked") and not (tensor.is_floating_point() and tensor.isfinite().all()):
            raise UserError(
                f"{path}: the weights in {name} are not all finite numbers. The training diverged, or the file is "
                "damaged: use an earlier one."
            )


def check_architecture(network: nn.Module, arguments: dict[str, Any], setting: str, name: str = "generator") -> None:
    """Raise UserError unless a stored network has the same arguments as `network`.

    Args:
        network: a network with `arguments`.
        arguments: arguments of the stored network.
        setting: the option that named the file of the stored network, for the error message.
        name: `generator` or `discriminator`.
    """
    ours: dict[str, Any] = network.arguments  # type: ignore[assignment]
    differing = [key for key in sorted({*ours, *arguments}) if ours.get(key) != arguments.get(key)]
    if differing:
        theirs = ", ".join(f"model.{name}.{key}={arguments.get(key)}" for key in differing)
        here = ", ".join(f"{key}={ours.get(key)}" for key in differing)
        raise UserError(
            f"{setting} holds a {name} of another architecture: it has {theirs}, this run has {here}. "
            f"To use it, set {theirs.replace('model.generator.scale', 'scale')}."
        )
