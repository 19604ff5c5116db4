"""The contract of a generator, which every command relies on."""

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from srgan_lightning.utils.errors import UserError

#: Side of the LR image on which a network is checked, unless the network needs a larger image.
TRIAL_SIDE = 16


class SuperResolver(Protocol):
    """A generator: an `nn.Module` with weights, `scale`, `arguments` and `forward`; `Traits` lists optional attributes.

    Attributes:
        scale: upscaling factor of width and height.
        arguments: constructor arguments by name, as plain JSON values; its class builds the same network from them.
    """

    scale: int
    arguments: dict[str, Any]

    def forward(self, lr: Tensor) -> Tensor:
        """Map (B, 3, H, W) RGB in [0, 1] to (B, 3, scale * H, scale * W) around [0, 1], not clamped."""


class SRModule(nn.Module):
    """`nn.Module` and `SuperResolver` as one type, for type checkers; a user's class need not inherit from it."""

    scale: int
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Traits:
    """Optional attributes of a generator, with the defaults used when it lacks them.

    Attributes:
        receptive_radius: largest distance, in LR pixels, from an SR pixel to an LR pixel that affects it; None if
            unknown.
        min_side: the smallest height or width of LR; smaller images are padded.
        side_multiple: LR is padded to heights and widths that are multiples of this.
        tile_multiple: tiles begin at multiples of this many LR pixels, to match attention windows; 0 means
            `side_multiple`.
        lr_features: number of feature maps in a layer of LR's size, for a lower bound of the network's memory.
        hr_features: number of feature maps in a layer of HR's size, likewise.
        supports_half: whether the network works in float16.
    """

    receptive_radius: int | None = None
    min_side: int = 1
    side_multiple: int = 1
    tile_multiple: int = 0
    lr_features: int = 3
    hr_features: int = 3
    supports_half: bool = True


#: Defaults of the traits that are numbers.
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Traits) if field.name != "supports_half"}


def traits_of(generator: nn.Module) -> Traits:
    """Return the traits of a generator.

    Raises:
        UserError: a trait is not a whole number, or is too small.
    """
    said: dict[str, Any] = {"supports_half": bool(getattr(generator, "supports_half", True))}
    for name, default in DEFAULTS.items():
        value, least = getattr(generator, name, default), min(default or 0, 1)
        if value is not default and (type(value) is not int or value < least):
            raise UserError(
                f"{type(generator).__name__} has {name}={value!r}: it must be a whole number of at least {least}. "
                "docs/networks.md explains it."
            )
        said[name] = value
    return Traits(**said)


def plain_arguments(network: nn.Module) -> dict[str, Any] | None:
    """Return a network's `arguments` if they are a dict that JSON stores without change, else None."""
    arguments = getattr(network, "arguments", None)
    try:
        plain = isinstance(arguments, dict) and json.loads(json.dumps(arguments)) == arguments
    except (TypeError, ValueError):
        plain = False
    return dict(arguments) if plain else None  # type: ignore[arg-type]


def validate_generator(generator: nn.Module, setting: str = "model.generator") -> SRModule:
    """Check a network against the contract, and run it on a small image.

    Args:
        generator: any network.
        setting: the option or file that the network came from, for error messages.

    Returns:
        The same network.

    Raises:
        UserError: it lacks `scale`, `arguments` or weights, a trait is invalid, it fails on the image, or its result
            does not match `scale`.
    """
    name = type(generator).__name__
    scale, arguments = getattr(generator, "scale", None), getattr(generator, "arguments", None)
    if type(scale) is not int or scale < 1 or plain_arguments(generator) is None:
        raise UserError(
            f"{setting}: {name} has scale={scale!r} and arguments={arguments!r}. Give it `scale`, a whole number, and "
            "`arguments`, a dict of its constructor arguments by name. Values are numbers, text, true or false, None "
            "or lists of these; convert Hydra's lists with list(...)."
        )
    if next(generator.parameters(), None) is None:
        raise UserError(f"{setting}: {name} has no weights, so there is nothing to train, save or load.")
    checked = cast(SRModule, generator)
    _try(checked, setting)
    return checked


def trial_image(generator: SRModule) -> Tensor:
    """Return fixed noise (1, 3, H, W) in [0, 1] at least 16 pixels per side, in a size that the generator accepts."""
    traits = traits_of(generator)
    height = _rounded_up(max(TRIAL_SIDE, traits.min_side), traits.side_multiple)
    weight = next(generator.parameters())
    noise = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, height, height + traits.side_multiple, generator=noise).to(weight)


def _try(generator: SRModule, setting: str) -> None:
    """Raise UserError unless the network upscales a test image, which is not square, by `scale`."""
    name, lr = type(generator).__name__, trial_image(generator)
    height, width = lr.shape[-2:]
    training = {module: module.training for module in generator.modules()}
    generator.eval()
    try:
        # The check must change neither the random numbers of a training run nor what torch.compile does in it.
        with torch.no_grad(), torch.random.fork_rng(devices=[]), _eager():
            sr = generator(lr)
    except UserError:
        raise
    except Exception as error:  # a user's class may raise anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"{setting}: {name} fails on an LR image of {width}x{height} pixels: {reason}. A generator maps "
            "(B, 3, H, W) to (B, 3, scale * H, scale * W). If it accepts only certain sizes, give it `min_side` or "
            "`side_multiple`."
        ) from error
    finally:
        for module, was in training.items():
            module.training = was
    check_size(generator, lr, sr, setting)


def check_size(generator: SRModule, lr: Tensor, sr: Any, setting: str = "weights") -> None:
    """Raise UserError unless SR has the shape that the contract requires."""
    expected = (lr.shape[0], 3, generator.scale * lr.shape[2], generator.scale * lr.shape[3])
    if not isinstance(sr, Tensor) or sr.shape != expected:
        shape = tuple(sr.shape) if isinstance(sr, Tensor) else type(sr).__name__
        raise UserError(
            f"{setting}: {type(generator).__name__} has scale={generator.scale}, but maps {tuple(lr.shape)} to {shape} "
            f"instead of {expected}."
        )


def run_padded(generator: SRModule, lr: Tensor) -> Tensor:
    """Upscale LR of any size for inference, padding it as the generator requires.

    If the network has a method `forward_lean`, it is used: it must give the result of `forward` with less memory.

    Args:
        generator: a network in eval mode.
        lr: (B, 3, H, W) RGB in [0, 1].

    Returns:
        (B, 3, scale * H, scale * W) RGB in float32, not clamped.

    Raises:
        UserError: the result has a wrong size.
    """
    traits = traits_of(generator)
    height, width = lr.shape[-2:]
    padded = _pad(lr, *(_rounded_up(max(side, traits.min_side), traits.side_multiple) for side in (height, width)))
    with _eager():  # otherwise torch.compile would recompile for every image size
        sr = getattr(generator, "forward_lean", generator)(padded)
    check_size(generator, padded, sr)
    return sr.float()[..., : generator.scale * height, : generator.scale * width]  # type: ignore[no-any-return]


def _eager() -> AbstractContextManager[Any]:
    """Disable torch.compile. If torch._dynamo is not imported yet, do nothing: importing it takes seconds."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _pad(lr: Tensor, height: int, width: int) -> Tensor:
    """Pad at the bottom and right, by reflection as far as the image reaches, then by repeating the last pixel."""
    down, right = height - lr.shape[-2], width - lr.shape[-1]
    if not (down or right):
        return lr
    mirrored = (0, min(right, lr.shape[-1] - 1), 0, min(down, lr.shape[-2] - 1))
    lr = pad(lr, mirrored, mode="reflect")
    return pad(lr, (0, width - lr.shape[-1], 0, height - lr.shape[-2]), mode="replicate")


def _rounded_up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
