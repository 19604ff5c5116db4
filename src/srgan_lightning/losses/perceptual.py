"""The VGG19 content loss (Ledig et al. 2017, section 2.2.1)."""

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from srgan_lightning.errors import UserError
from srgan_lightning.plain_load import load_plain


def _layer_index(layer: str) -> int:
    """Position of a layer such as relu5_4 (or conv5_4, before its activation) in torchvision's `vgg19().features`."""
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
            f"loss.vgg.layer={layer!r} is not a layer of VGG19: use relu2_2, relu5_4, ... ({', '.join(names)})."
        )
    return names[layer]


def _read_weights(weights: str) -> dict[str, Tensor]:
    """VGG19 tensors under torchvision's names, from its download or a local file that may hold only some layers."""
    if weights == "imagenet":
        try:
            return dict(VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True))
        except Exception as error:  # urllib, ssl, socket, hash and disk errors all end here
            raise UserError(
                f"The ImageNet weights of VGG19 could not be downloaded ({error}). Get vgg19-dcbb9e9d.pth from "
                "torchvision on a machine with network and set loss.vgg.weights=PATH (a .pth or .safetensors; the "
                "layers up to loss.vgg.layer are enough), or train without the term: loss.perceptual=0."
            ) from error
    path = Path(weights)
    if not path.is_file():
        raise UserError(f"loss.vgg.weights={weights}: no such file (looked in {path.absolute()}).")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = load_plain(path)
    except Exception as error:
        raise UserError(f"loss.vgg.weights={weights} cannot be read as VGG19 weights: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"loss.vgg.weights={weights} is not a state dict of VGG19: it holds other things than tensors.")
    return state


class VGGFeatures(nn.Module):
    """VGG19 up to one layer: frozen, in eval mode, with the ImageNet normalisation inside.

    Args:
        layer: `relu2_2` (the paper's VGG2,2), `relu5_4` (VGG5,4) or any other of torchvision's VGG19; `convB_N` is the
            same before its activation.
        weights: `imagenet` (torchvision's download), a path to a .pth or .safetensors under torchvision's names that
            holds at least the layers needed, or `random` for tests.

    Raises:
        UserError: the layer is unknown, or the weights are not to be had or do not reach up to it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layer: str = "relu5_4", weights: str = "imagenet") -> None:
        super().__init__()
        self.layers = make_layers(cfgs["E"], batch_norm=False)[: _layer_index(layer) + 1]
        if weights != "random":
            state = _read_weights(weights)
            wanted = {f"features.{name}": name for name in self.layers.state_dict()}
            missing = [key for key in wanted if key not in state]
            if missing:
                held = sorted({int(m[1]) for key in state if (m := re.fullmatch(r"features\.(\d+)\.weight", str(key)))})
                raise UserError(
                    f"loss.vgg.weights={weights} does not reach up to {layer}: {missing[0]} is missing (it holds "
                    f"features {held}). Choose an earlier loss.vgg.layer or a file with more layers."
                )
            try:
                self.layers.load_state_dict({name: state[key] for key, name in wanted.items()})
            except RuntimeError as error:
                raise UserError(f"loss.vgg.weights={weights} is not VGG19: {error}") from error
            if not all(tensor.isfinite().all() for tensor in self.layers.parameters()):
                raise UserError(f"loss.vgg.weights={weights} is damaged: it holds NaN or infinity. Get it again.")
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] to the layer's features, (B, C, H / 2^k, W / 2^k)."""
        features: Tensor = self.layers((image - self.mean) / self.std)
        return features


class PerceptualLoss(nn.Module):
    """Mean squared distance of the VGG features of SR and HR; its gradient reaches SR alone.

    Args:
        layer: see `VGGFeatures`.
        weights: see `VGGFeatures`.
    """

    def __init__(self, layer: str = "relu5_4", weights: str = "imagenet") -> None:
        super().__init__()
        self.features = VGGFeatures(layer, weights)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """sr, hr: (B, 3, H, W) RGB in [0, 1]; a scalar."""
        with torch.no_grad():  # the target needs no graph
            target = self.features(hr)
        return F.mse_loss(self.features(sr), target)
