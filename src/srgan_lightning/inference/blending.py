"""Interpolate the weights of two generators, from faithful (SRResNet) to sharp (SRGAN)."""

import copy

import torch

from srgan_lightning.artifacts.artifact import architecture_of
from srgan_lightning.artifacts.load import load_generator
from srgan_lightning.networks.contract import SRModule
from srgan_lightning.utils.errors import UserError


@torch.no_grad()
def blend(first: SRModule, second: SRModule, amount: float) -> SRModule:
    """Interpolate all weights and BatchNorm statistics of two generators (Wang et al. 2018, ESRGAN, section 3.4).

    Results are good if one generator was trained from the other, as SRGAN is trained from SRResNet in the paper's
    second stage.

    Args:
        first: a generator; it is not changed.
        second: a generator of the same architecture; it is not changed.
        amount: share of the second, 0 to 1; 0 gives exactly the first, 1 the second.

    Returns:
        A new generator in eval mode.

    Raises:
        UserError: the architectures differ, or the amount is out of its range.
    """
    if not 0 <= amount <= 1:
        raise UserError(f"amount={amount}: give the share of the second generator, a number from 0 to 1.")
    ours, theirs = ({"architecture": architecture_of(network), **network.arguments} for network in (first, second))
    if ours != theirs:
        differing = ", ".join(
            f"{name} is {ours.get(name)} and {theirs.get(name)}"
            for name in dict.fromkeys([*ours, *theirs])
            if ours.get(name) != theirs.get(name)
        )
        raise UserError(
            f"These two generators cannot be blended, because their architectures differ: {differing}. Use two of the "
            "same architecture, such as an SRGAN and the SRResNet from which it was trained."
        )
    blended = copy.deepcopy(first).eval()
    others = second.state_dict()
    for name, tensor in blended.state_dict().items():  # the tensors share memory with the network
        if tensor.is_floating_point():  # all but BatchNorm's count of batches, which is not used at inference
            tensor.copy_(torch.lerp(tensor, others[name].to(tensor.device), amount))
    return blended


def blend_files(first: str, second: str, amount: str) -> SRModule:
    """Blend two generators by name or path, for command lines.

    Raises:
        UserError: see `blend`; also if weights are unavailable or the amount is not a number.
    """
    try:
        share = float(amount)
    except ValueError:
        raise UserError(
            f"blend: {amount} is not a number. Give two weights and the share of the second, such as srresnet-x4 "
            "srgan-faces-x4 0.7."
        ) from None
    return blend(load_generator(first), load_generator(second), share)
