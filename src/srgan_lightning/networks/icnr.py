"""ICNR: initialise sub-pixel convolutions without checkerboard artefacts (Aitken et al. 2017, arXiv 1707.02937)."""

import torch
from torch import nn


@torch.no_grad()
def equal_phases(convolution: nn.Conv2d, factor: int = 2) -> None:
    """Give equal kernels to the output channels that a pixel shuffle puts side by side.

    Convolution and shuffle then start as nearest-neighbour upsampling. All kernels of a group become copies of the
    group's first kernel. No random number is drawn, so the initial weights of other layers do not change.

    Args:
        convolution: a convolution before a pixel shuffle; its outputs are grouped by factor^2.
        factor: upsampling factor of the shuffle.
    """
    for parameter in convolution.parameters():
        parameter.copy_(parameter[:: factor**2].repeat_interleave(factor**2, dim=0))
