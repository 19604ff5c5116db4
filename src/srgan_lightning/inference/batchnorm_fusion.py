"""BatchNorm's fixed scale and shift, taken into the convolutions before it: fewer passes over memory at inference."""

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from srgan_lightning.networks import Generator


def fold_batchnorm(generator: Generator) -> Generator:
    """A copy in eval mode that gives the same images (to about 1e-6) with its BatchNorm layers folded away."""
    folded = copy.deepcopy(generator).eval()
    for module in list(folded.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for index in range(1, len(module)):
            convolution, norm = module[index - 1], module[index]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[index - 1] = fuse_conv_bn_eval(convolution, norm)
                module[index] = nn.Identity()
    return folded
