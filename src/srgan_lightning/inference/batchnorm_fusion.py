"""Fold BatchNorm's fixed scale and shift into the convolutions before it, for fewer passes over memory at inference."""

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from srgan_lightning.networks import Generator
from srgan_lightning.networks.contract import SRModule, run_padded, trial_image

Network = TypeVar("Network", bound=SRModule)
#: Largest difference between the outputs of a network and of its folded copy.
TOLERANCE = 1e-4


def fold_batchnorm(generator: Network) -> Network:
    """Return a copy in eval mode with BatchNorm layers folded away; its output is the same to about 1e-6.

    Folding would break a network that uses the layers of an `nn.Sequential` in another order. Networks other than
    `Generator` are therefore tested, and copied without folding if the output changes.
    """
    folded = copy.deepcopy(generator).eval()
    found = False
    for module in list(folded.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for index in range(1, len(module)):
            convolution, norm = module[index - 1], module[index]
            if type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.running_var is not None:
                module[index - 1] = fuse_conv_bn_eval(convolution, norm)
                module[index] = nn.Identity()
                found = True
    if found and not isinstance(generator, Generator) and not _same(generator, folded):
        return copy.deepcopy(generator).eval()
    return folded


@torch.no_grad()
def _same(generator: SRModule, folded: SRModule) -> bool:
    lr = trial_image(generator)
    plain = copy.deepcopy(generator).eval()  # a copy, because the given network may be in training
    try:
        return torch.allclose(run_padded(plain, lr), run_padded(folded, lr), rtol=TOLERANCE, atol=TOLERANCE)
    except RuntimeError:
        return False
