"""Use networks of the library spandrel (RRDBNet, SRVGGNetCompact, SwinIR and some forty more) as generators."""

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from srgan_lightning.networks.contract import SRModule
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.optional import needs_extra

if TYPE_CHECKING:
    from spandrel import ModelDescriptor

#: Prefix of the weights' names in checkpoints. Artifacts omit it, because spandrel and programs built on it recognise a
#: network by the published names of its weights.
PREFIX = "network."
#: Hyperparameters that hold the size of attention windows. Tiles must be aligned to these windows.
WINDOWS = ("window_size", "split_size")


class SpandrelGenerator(SRModule):
    """A single-image super-resolution network of spandrel.

    A network for grey images runs on the red, green and blue channels separately.

    Args:
        descriptor: the network with its description, from spandrel's loader.

    Raises:
        UserError: the network is not for super-resolution of single RGB or grey images.
    """

    def __init__(self, descriptor: "ModelDescriptor") -> None:
        super().__init__()
        check_purpose(descriptor)
        self.network: nn.Module = descriptor.model
        # spandrel's function that runs the network, because some networks return more than the image. The descriptor's
        # `__call__` would clamp the image and disable gradients.
        self._call: Callable[[nn.Module, Tensor], Tensor] = descriptor._call_fn
        self.scale = descriptor.scale
        self.grey = descriptor.input_channels == 1
        options = getattr(descriptor.model, "hyperparameters", {})
        self.arguments = {
            "architecture": str(descriptor.architecture.id),
            **{name: _plain(value) for name, value in options.items() if _plain(value) is not None},
            "scale": descriptor.scale,
        }
        size = descriptor.size_requirements
        self.min_side, self.side_multiple = max(size.minimum, 1), size.multiple_of
        windows = [side for name in WINDOWS for side in _sides(options.get(name))]
        self.tile_multiple = math.lcm(size.multiple_of, *windows)
        self.supports_half = descriptor.supports_half

    def forward(self, lr: Tensor) -> Tensor:
        """Map (B, 3, H, W) RGB in [0, 1] to (B, 3, scale * H, scale * W), not clamped."""
        if not self.grey:
            return self._call(self.network, lr)
        batch, _, height, width = lr.shape
        sr = self._call(self.network, lr.reshape(3 * batch, 1, height, width))
        return sr.reshape(batch, 3, *sr.shape[-2:])


def check_purpose(descriptor: "ModelDescriptor") -> None:
    """Raise UserError unless a spandrel network upscales single RGB or grey images."""
    name = f"a network of {descriptor.architecture.name}"
    channels = (descriptor.input_channels, descriptor.output_channels)
    if descriptor.purpose != "SR" or descriptor.scale < 2:
        kinds = {"FaceSR": "face restoration", "Restoration": "restoration", "Inpainting": "inpainting"}
        what = kinds.get(descriptor.purpose, "restoration")
        raise UserError(
            f"it holds {name} for {what} at scale {descriptor.scale}. Only networks that upscale single images are "
            "supported: use one with a scale of 2 or more."
        )
    if channels not in ((3, 3), (1, 1)):
        raise UserError(
            f"it holds {name} that maps {channels[0]} channels to {channels[1]}. Only networks for RGB (3 to 3) or "
            "grey images (1 to 1) are supported."
        )
    if descriptor.size_requirements.square:
        raise UserError(f"it holds {name}, which accepts only square images: use another network.")


def generator_of(tensors: Mapping[str, Any]) -> SpandrelGenerator:
    """Build a generator from weights with the published names, which determine the architecture.

    Raises:
        UserError: spandrel is missing, does not know the names, or the network has another purpose.
        Exception: many types, if the tensors are damaged or hostile.
    """
    with needs_extra("spandrel"):
        import spandrel
    try:
        return SpandrelGenerator(spandrel.ModelLoader().load_from_state_dict(dict(tensors)))
    except spandrel.UnsupportedModelError as error:
        names = ", ".join(str(name)[:60] for name in list(tensors)[:3])
        raise UserError(
            f"it holds no network that spandrel {spandrel.__version__} knows ({len(tensors)} entries such as {names}). "
            "It may be a video network, discriminator, optimizer state, or an architecture that is too new or too rare."
        ) from error


def rrdb(scale: int = 4, channels: int = 64, blocks: int = 23) -> SpandrelGenerator:
    """Build an untrained RRDBNet, the generator of (Real-)ESRGAN (Wang et al. 2018, arXiv 1809.00219, section 3.1).

    Args:
        scale: 2, 4 or 8.
        channels: feature maps (ESRGAN: 64); the convolutions inside a dense block have 32.
        blocks: residual-in-residual dense blocks (ESRGAN: 23; Real-ESRGAN's anime model: 6).

    Raises:
        UserError: an argument is out of its range, or spandrel is missing.
    """
    with needs_extra("spandrel"):
        from spandrel.architectures.ESRGAN import ESRGAN, ESRGANArch
    if scale not in (2, 4, 8) or not 1 <= channels <= 512 or not 1 <= blocks <= 100:
        raise UserError(
            f"scale={scale}, channels={channels}, blocks={blocks}: RRDBNet upscales by 2, 4 or 8, and has 1 to 512 "
            "channels and 1 to 100 blocks (ESRGAN: 64 and 23)."
        )
    network = ESRGAN(num_filters=channels, num_blocks=blocks, scale=scale)
    for name, module in network.named_modules():
        # Section 3.1: small initial weights, because a deep network without BatchNorm is hard to train.
        if isinstance(module, nn.Conv2d) and ".RDB" in name:
            nn.init.kaiming_normal_(module.weight)
            with torch.no_grad():
                module.weight *= 0.1
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return SpandrelGenerator(ESRGANArch().load(network.state_dict()))


def compact(scale: int = 4, channels: int = 64, convolutions: int = 16) -> SpandrelGenerator:
    """Build an untrained SRVGGNetCompact, Real-ESRGAN's small network (Wang et al. 2021); all layers have LR's size.

    Args:
        scale: 2, 3, 4 or 8.
        channels: feature maps (Real-ESRGAN: 64).
        convolutions: number of layers between the first and the last (Real-ESRGAN: 16 for animation, 32 for photos).

    Raises:
        UserError: an argument is out of its range, or spandrel is missing.
    """
    with needs_extra("spandrel"):
        from spandrel.architectures.Compact import Compact, CompactArch
    if scale not in (2, 3, 4, 8) or not 1 <= channels <= 1024 or not 1 <= convolutions <= 200:
        raise UserError(
            f"scale={scale}, channels={channels}, convolutions={convolutions}: this network upscales by 2, 3, 4 or 8, "
            "and has 1 to 1024 channels and 1 to 200 convolutions (Real-ESRGAN: 64 and 16 or 32)."
        )
    network = Compact(num_feat=channels, num_conv=convolutions, upscale=scale)
    return SpandrelGenerator(CompactArch().load(network.state_dict()))


def _plain(value: Any) -> Any:
    """Convert a hyperparameter to a JSON value; return None for a value that JSON cannot store, such as a class."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return None


def _sides(value: Any) -> list[int]:
    values = value if isinstance(value, list | tuple) else [value]
    return [side for side in values if isinstance(side, int) and side > 0]
