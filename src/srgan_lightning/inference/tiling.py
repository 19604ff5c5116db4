"""Upscaling whole images in tiles that overlap as far as the generator sees."""

from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from srgan_lightning.imaging.tiles import run_tiled
from srgan_lightning.networks.contract import SRModule, run_padded, traits_of

#: Side of a tile in LR pixels for scores.
TILE = 256
#: The overlap of tiles in LR pixels where the generator sees farther than this, or nobody knows how far; the result
#: is then near that of the whole image, and not equal to it.
OVERLAP = 64
#: Side of the strips that are put through a generator to measure how far it sees, in LR pixels.
STRIP_DEPTH = 16
#: Greatest difference of two results that are the same but for rounding, as a share of the greatest value.
SAME = 1e-4

_measured: WeakKeyDictionary[nn.Module, int | None] = WeakKeyDictionary()


def super_resolve(generator: SRModule, lr: Tensor) -> Tensor:
    """Upscale whole images, in tiles where these give the same image with less memory.

    Args:
        generator: in eval mode.
        lr: (B, 3, H, W) RGB in [0, 1].

    Returns:
        (B, 3, scale * H, scale * W) RGB in float32, not clamped.
    """
    upscale = partial(run_padded, generator)
    if max(lr.shape[-2:]) <= TILE or (radius := receptive_radius(generator)) is None:
        return upscale(lr)
    return run_tiled(upscale, lr, generator.scale, TILE, radius, tile_multiple(generator))


def tile_multiple(generator: SRModule) -> int:
    """What tiles begin at multiples of, in LR pixels."""
    traits = traits_of(generator)
    return traits.tile_multiple or traits.side_multiple


def receptive_radius(generator: SRModule) -> int | None:
    """How far tiles have to look beyond their edges for the result of the whole image, in LR pixels.

    Where the generator does not say it, it is measured once.

    Returns:
        None where it is farther than `OVERLAP`, as with attention over the whole image, or depends on the values.
    """
    traits = traits_of(generator)
    radius = traits.receptive_radius
    if radius is None:
        if generator not in _measured:
            _measured[generator] = _measure(generator)
        radius = _measured[generator]
    # A crop that is smaller than the network takes would be padded where the image goes on.
    return None if radius is None else max(radius, traits.min_side - 1)


@torch.no_grad()
def _measure(generator: SRModule) -> int | None:
    """How far a NaN spreads: by whatever layer, to all that depends on it.

    What is found is then tried: two tiles have to give the image that the network gives in one go.
    """
    multiple, weight = tile_multiple(generator), next(generator.parameters())
    margin = _rounded_up(OVERLAP + 1, multiple)
    length = 2 * margin + multiple
    depth = _rounded_up(max(STRIP_DEPTH, traits_of(generator).min_side), multiple)
    upscale, noise, radius = partial(run_padded, generator), torch.Generator().manual_seed(0), 0
    for axis, shape in ((-1, (depth, length)), (-2, (length, depth))):
        strip = torch.rand(1, 3, *shape, generator=noise).to(weight)
        poisoned = strip.clone()
        poisoned.narrow(axis, margin, multiple).fill_(torch.nan)
        reached = upscale(poisoned).isnan().any(dim=1).any(dim=-3 - axis).flatten().nonzero() // generator.scale
        if not len(reached):
            return None
        first, last = int(reached.min()), int(reached.max())
        if first == 0 or last == length - 1:
            return None
        radius = max(radius, margin - first, last - (margin + multiple - 1))
        whole = upscale(strip)
        tiled = run_tiled(upscale, strip, generator.scale, length // 2, radius, multiple)
        if not torch.allclose(tiled, whole, rtol=0, atol=SAME * float(whole.abs().max())):
            return None
    return radius


def _rounded_up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
