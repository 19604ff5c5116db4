"""ICNR, an initialisation of sub-pixel convolutions without checkerboards (Aitken et al. 2017, arXiv 1707.02937)."""

import torch
from torch import nn


@torch.no_grad()
def equal_phases(convolution: nn.Conv2d, factor: int = 2) -> None:
    """Make the channels that a pixel shuffle puts side by side equal: it then starts as nearest-neighbour enlargement.

    The kernels that stay are the first of each group, as they were drawn, so that no other random number changes.

    Args:
        convolution: with factor^2 times as many outputs as the shuffle leaves.
        factor: of the shuffle.
    """
    for parameter in convolution.parameters():
        parameter.copy_(parameter[:: factor**2].repeat_interleave(factor**2, dim=0))
