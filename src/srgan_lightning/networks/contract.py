"""What a generator is, whatever its layers: the contract that every command works by."""

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from srgan_lightning.utils.errors import UserError

#: Side of the LR image that a network is tried with, where it needs no larger one.
TRIAL_SIDE = 16


class SuperResolver(Protocol):
    """A generator: an `nn.Module` with weights, which has these three, and of `Traits` what it wants to say.

    Attributes:
        scale: how many times as wide and high SR is.
        arguments: plain values (as JSON has them) by name, which its class builds it from again.
    """

    scale: int
    arguments: dict[str, Any]

    def forward(self, lr: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] to (B, 3, scale * H, scale * W) around [0, 1], not clamped."""


class SRModule(nn.Module):
    """`nn.Module` and `SuperResolver` in one type, for type checkers; a class of a user need not inherit from it."""

    scale: int
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Traits:
    """What a generator may say of itself, as attributes of these names; the defaults hold where it does not.

    Attributes:
        receptive_radius: how many LR pixels away an SR pixel depends on at most; None where it does not say.
        min_side: the smallest height or width of LR; smaller images are padded.
        side_multiple: LR is padded to heights and widths that are multiples of this.
        tile_multiple: tiles begin at multiples of this many LR pixels, as the windows of attention do; 0 stands for
            `side_multiple`.
        lr_features: feature maps of LR's size that it holds at once, for a lower bound of its memory.
        hr_features: the same of HR's size.
        supports_half: it works in float16.
    """

    receptive_radius: int | None = None
    min_side: int = 1
    side_multiple: int = 1
    tile_multiple: int = 0
    lr_features: int = 3
    hr_features: int = 3
    supports_half: bool = True


#: Of the traits that are numbers.
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Traits) if field.name != "supports_half"}


def traits_of(generator: nn.Module) -> Traits:
    """The traits of a generator.

    Raises:
        UserError: one of them is no whole number, or below its default.
    """
    said: dict[str, Any] = {"supports_half": bool(getattr(generator, "supports_half", True))}
    for name, default in DEFAULTS.items():
        value, least = getattr(generator, name, default), min(default or 0, 1)
        if value is not default and (type(value) is not int or value < least):
            raise UserError(
                f"{type(generator).__name__} has {name}={value!r}: it has to be a whole number from {least} on. "
                "docs/networks.md says what it is for."
            )
        said[name] = value
    return Traits(**said)


def plain_arguments(network: nn.Module) -> dict[str, Any] | None:
    """The values that a network is built from again, if it has them as `arguments` and JSON holds them as they are."""
    arguments = getattr(network, "arguments", None)
    try:
        plain = isinstance(arguments, dict) and json.loads(json.dumps(arguments)) == arguments
    except (TypeError, ValueError):
        plain = False
    return dict(arguments) if plain else None  # type: ignore[arg-type]


def validate_generator(generator: nn.Module, setting: str = "model.generator") -> SRModule:
    """Check a network against the contract; a small image is put through it.

    Args:
        generator: any network.
        setting: the option or file that it came from, for the error.

    Returns:
        The same.

    Raises:
        UserError: it lacks `scale`, `arguments` or weights, a trait is impossible, or it fails on the image or gives
            another size than it says.
    """
    name = type(generator).__name__
    scale, arguments = getattr(generator, "scale", None), getattr(generator, "arguments", None)
    if type(scale) is not int or scale < 1 or plain_arguments(generator) is None:
        raise UserError(
            f"{setting}: {name} has scale={scale!r} and arguments={arguments!r}. Give it `scale`, a whole number, and "
            "`arguments`, a dict of what it is built from: names, and numbers, text, true or false, None or lists of "
            "these (of Hydra's lists, list(...))."
        )
    if next(generator.parameters(), None) is None:
        raise UserError(f"{setting}: {name} has no weights, so there is nothing to train, keep or load.")
    checked = cast(SRModule, generator)
    _try(checked, setting)
    return checked


def trial_image(generator: SRModule) -> Tensor:
    """(1, 3, H, W) noise in [0, 1], the same each time, of about the smallest size that a generator takes."""
    traits = traits_of(generator)
    height = _rounded_up(max(TRIAL_SIDE, traits.min_side), traits.side_multiple)
    weight = next(generator.parameters())
    noise = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, height, height + traits.side_multiple, generator=noise).to(weight)


def _try(generator: SRModule, setting: str) -> None:
    """Raise UserError unless an image that is not square comes out `scale` times as large."""
    name, lr = type(generator).__name__, trial_image(generator)
    height, width = lr.shape[-2:]
    training = {module: module.training for module in generator.modules()}
    generator.eval()
    try:
        # Neither the random numbers of a training nor what it compiles may depend on this.
        with torch.no_grad(), torch.random.fork_rng(devices=[]), _eager():
            sr = generator(lr)
    except UserError:
        raise
    except Exception as error:  # a class of a user may raise anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"{setting}: {name} fails on an LR image of {width}x{height} pixels: {reason}. A generator maps "
            "(B, 3, H, W) to (B, 3, scale * H, scale * W); if it takes certain sizes alone, give it `min_side` or "
            "`side_multiple`."
        ) from error
    finally:
        for module, was in training.items():
            module.training = was
    check_size(generator, lr, sr, setting)


def check_size(generator: SRModule, lr: Tensor, sr: Any, setting: str = "weights") -> None:
    """Raise UserError unless SR has the shape that the contract asks for."""
    expected = (lr.shape[0], 3, generator.scale * lr.shape[2], generator.scale * lr.shape[3])
    if not isinstance(sr, Tensor) or sr.shape != expected:
        shape = tuple(sr.shape) if isinstance(sr, Tensor) else type(sr).__name__
        raise UserError(
            f"{setting}: {type(generator).__name__} says scale={generator.scale}, but from {tuple(lr.shape)} it makes "
            f"{shape} and not {expected}."
        )


def run_padded(generator: SRModule, lr: Tensor) -> Tensor:
    """Upscale LR of any size for inference: padded where the generator needs it, by its lean way where it has one.

    A network with the method `forward_lean`, which gives what `forward` does with less memory, is run by that.

    Args:
        generator: in eval mode.
        lr: (B, 3, H, W) RGB in [0, 1].

    Returns:
        (B, 3, scale * H, scale * W) RGB in float32, not clamped.

    Raises:
        UserError: it gives another size.
    """
    traits = traits_of(generator)
    height, width = lr.shape[-2:]
    padded = _pad(lr, *(_rounded_up(max(side, traits.min_side), traits.side_multiple) for side in (height, width)))
    with _eager():  # else it would be compiled again for every size of photo
        sr = getattr(generator, "forward_lean", generator)(padded)
    check_size(generator, padded, sr)
    return sr.float()[..., : generator.scale * height, : generator.scale * width]  # type: ignore[no-any-return]


def _eager() -> AbstractContextManager[Any]:
    """Leave torch.compile aside; nothing is compiled before its module is imported, which takes seconds."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _pad(lr: Tensor, height: int, width: int) -> Tensor:
    """Lengthen at the bottom and right, by reflection as far as there are pixels, and by repetition beyond."""
    down, right = height - lr.shape[-2], width - lr.shape[-1]
    if not (down or right):
        return lr
    mirrored = (0, min(right, lr.shape[-1] - 1), 0, min(down, lr.shape[-2] - 1))
    lr = pad(lr, mirrored, mode="reflect")
    return pad(lr, (0, width - lr.shape[-1], 0, height - lr.shape[-2]), mode="replicate")


def _rounded_up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
