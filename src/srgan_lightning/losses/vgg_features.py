"""Features of VGG19's layers, optionally normalised so that they do not depend on the scale of the weights."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from srgan_lightning.losses.winograd import FrozenConv3x3
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.safe_load import safe_torch_load


def _layer_index(layer: str) -> int:
    """Return the index in torchvision's `features` of a layer such as relu5_4, or conv5_4 (before the activation)."""
    names: dict[str, int] = {}
    block, number, position = 1, 1, 0
    for entry in cfgs["E"]:
        if entry == "M":
            block, number, position = block + 1, 1, position + 1
            continue
        names[f"conv{block}_{number}"], names[f"relu{block}_{number}"] = position, position + 1
        number, position = number + 1, position + 2
    if layer not in names:
        raise UserError(
            f"{layer!r} is not a layer of VGG19. Set loss.vgg.layer or loss.vgg.layers to relu2_2, relu5_4, ... "
            f"({', '.join(names)})."
        )
    return names[layer]


def _read_weights(weights: str) -> dict[str, Tensor]:
    """Read VGG19 tensors with torchvision's names, from torchvision's download or a file that may lack later layers."""
    if weights == "imagenet":
        try:
            return dict(VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True))
        except Exception as error:  # urllib, ssl, socket, hash and disk errors all end here
            raise UserError(
                f"The ImageNet weights of VGG19 could not be downloaded ({error}). Get vgg19-dcbb9e9d.pth from "
                "torchvision on a machine with network and set loss.vgg.weights=PATH (a .pth or .safetensors; the "
                "layers up to the deepest in use are enough), or set loss.perceptual=0 to train without this term."
            ) from error
    path = Path(weights)
    if not path.is_file():
        raise UserError(f"loss.vgg.weights={weights}: no such file (looked in {path.absolute()}).")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = safe_torch_load(path)
    except Exception as error:
        raise UserError(f"loss.vgg.weights={weights} cannot be read as VGG19 weights: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"loss.vgg.weights={weights} is not a state dict of VGG19, a dict of tensors.")
    return state


def reference_picture() -> Tensor:
    """Return the picture on which features are measured: (1, 3, 64, 64) float64 RGB in [0, 1].

    The picture is a sum of waves of five octaves, in five directions and slightly different colours. Amplitudes are
    proportional to 1 / frequency, as in photos.
    """
    y, x = torch.meshgrid(*[torch.arange(64, dtype=torch.float64) / 64] * 2, indexing="ij")
    colour = torch.arange(3, dtype=torch.float64).view(3, 1, 1) / 4
    picture = torch.full((3, 64, 64), 0.5, dtype=torch.float64)
    for octave in range(5):
        frequency, angle = 2**octave, 2 * math.pi * octave / 5
        phase = 2 * math.pi * frequency * (x * math.cos(angle) + y * math.sin(angle))
        picture += 0.3 / frequency * torch.sin(phase + octave * colour)
    return picture.clamp(0, 1)[None]


class VGGFeatures(nn.Module):
    """VGG19 up to the deepest layer needed: frozen, always in eval mode, with the ImageNet normalisation inside.

    Its weights are not in `state_dict()`, because a checkpoint need not repeat a file that never changes.

    Args:
        layer: `relu2_2` (the paper's VGG2,2), `relu5_4` (VGG5,4), any other layer of VGG19, or a list of layers.
            `convB_N` is the layer `reluB_N` before its activation.
        weights: `imagenet` (torchvision's download), a path to a .pth or .safetensors with torchvision's names that
            holds at least the layers needed, or `random` for tests.
        normalize: divide each layer's features by their root mean square on `reference_picture`. The features of
            different weights files differ in scale by factors of 100.

    Raises:
        UserError: a layer is unknown, or the weights are unavailable or damaged, have too few layers, or cannot be
            normalised.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, layer: str | Sequence[str] = "relu5_4", weights: str = "imagenet", normalize: bool = False
    ) -> None:
        super().__init__()
        names = [layer] if isinstance(layer, str) else list(layer)
        self.positions = [_layer_index(name) for name in names]
        last = max(self.positions)
        layers = make_layers(cfgs["E"], batch_norm=False)[: last + 1]
        self.layers = nn.Sequential(
            *[FrozenConv3x3.share(layer) if isinstance(layer, nn.Conv2d) else layer for layer in layers]
        )
        for position in self.positions:
            if position < last and isinstance(after := self.layers[position + 1], nn.ReLU):
                after.inplace = False  # an in-place ReLU would overwrite this layer's features
        if weights != "random":
            self._load(weights, names[self.positions.index(last)])
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.scales = [1.0] * len(names)
        self.requires_grad_(False)
        self.eval()
        if normalize:
            self._normalize(weights)
        self.register_load_state_dict_pre_hook(_keep_weights)  # type: ignore[no-untyped-call]

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever `mode` is."""
        return super().train(False)

    def state_dict(self, *args: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Return `destination` unchanged, or an empty dict."""
        return {} if destination is None else destination

    def _load(self, weights: str, last: str) -> None:
        state = _read_weights(weights)
        wanted = {f"features.{name}": name for name in self.layers.state_dict()}
        missing = [key for key in wanted if key not in state]
        if missing:
            held = sorted({int(m[1]) for key in state if (m := re.fullmatch(r"features\.(\d+)\.weight", str(key)))})
            raise UserError(
                f"loss.vgg.weights={weights} does not reach up to {last}: {missing[0]} is missing (the file has "
                f"features {held}). Choose earlier layers or a file with more layers."
            )
        try:
            self.layers.load_state_dict({name: state[key] for key, name in wanted.items()})
        except RuntimeError as error:
            raise UserError(f"loss.vgg.weights={weights} is not VGG19: {error}") from error
        if not all(tensor.isfinite().all() for tensor in self.layers.parameters()):
            raise UserError(f"loss.vgg.weights={weights} is damaged: it has NaN or infinity. Download it again.")

    def _normalize(self, weights: str) -> None:
        """Rescale the filters so that every convolution's output has a root mean square of 1, and set `scales`.

        ReLU and pooling commute with a positive factor, so rescaled filters give the same features divided by a
        constant. All activations stay in the range of float16. The computation runs in float64, so that the scale does
        not depend on the number of threads.
        """
        self.double()
        x, scale = (reference_picture() - self.mean) / self.std, 1.0
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                layer.weight *= scale
                scale = float(layer(x).square().mean().sqrt())
                if not 0 < scale < math.inf:
                    raise UserError(
                        f"loss.vgg.weights={weights} cannot be normalised: the features of one layer have a root mean "
                        f"square of {scale}. Download the file again, or set loss.vgg.normalize=false."
                    )
                layer.weight /= scale
                assert layer.bias is not None
                layer.bias /= scale
            x = layer(x)
        self.scales = [float(features.square().mean().sqrt()) for features in self(reference_picture())]
        self.float()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W) RGB in [0, 1] to each layer's features: (B, C, H / 2^k, W / 2^k) after k pooling layers."""
        x = (image - self.mean) / self.std
        features: dict[int, Tensor] = {}
        for position, layer in enumerate(self.layers):
            x = layer(x)
            features[position] = x
        chosen = [features[position] for position in self.positions]
        return [x if scale == 1 else x / scale for x, scale in zip(chosen, self.scales, strict=True)]


def _keep_weights(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Add VGG's current weights to a state dict before it is loaded, because checkpoints do not hold them."""
    state |= {f"{prefix}{name}": tensor for name, tensor in (*module.named_parameters(), *module.named_buffers())}
