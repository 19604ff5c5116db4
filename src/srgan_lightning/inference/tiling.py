"""Upscale whole images in tiles that overlap by the generator's receptive radius."""

from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from srgan_lightning.imaging.tiles import run_tiled
from srgan_lightning.networks.contract import SRModule, run_padded, traits_of

#: Side of a tile in LR pixels when scoring.
TILE = 256
#: Overlap of tiles in LR pixels if `receptive_radius` returns None, and limit of a measured radius. With this overlap,
#: the result is close to that of the whole image, but not equal.
OVERLAP = 64
#: Width in LR pixels of the strips for measuring a generator's receptive radius.
STRIP_DEPTH = 16
#: Largest difference of two results that still counts as rounding, as a share of the largest value.
SAME = 1e-4

_measured: WeakKeyDictionary[nn.Module, int | None] = WeakKeyDictionary()


def super_resolve(generator: SRModule, lr: Tensor) -> Tensor:
    """Upscale whole images; cut large ones into tiles to save memory, if the result is the same.

    Args:
        generator: a network in eval mode.
        lr: (B, 3, H, W) RGB in [0, 1].

    Returns:
        (B, 3, scale * H, scale * W) RGB in float32, not clamped.
    """
    upscale = partial(run_padded, generator)
    if max(lr.shape[-2:]) <= TILE or (radius := receptive_radius(generator)) is None:
        return upscale(lr)
    return run_tiled(upscale, lr, generator.scale, TILE, radius, tile_multiple(generator))


def tile_multiple(generator: SRModule) -> int:
    """Return a number of LR pixels; tiles must begin at multiples of this number."""
    traits = traits_of(generator)
    return traits.tile_multiple or traits.side_multiple


def receptive_radius(generator: SRModule) -> int | None:
    """Return the overlap in LR pixels with which tiles give the result of the whole image.

    If the generator does not declare its receptive radius, the radius is measured once.

    Returns:
        The overlap. None if the receptive radius is not declared and exceeds `OVERLAP`, as with attention over the
        whole image, or depends on the pixel values.
    """
    traits = traits_of(generator)
    radius = traits.receptive_radius
    if radius is None:
        if generator not in _measured:
            _measured[generator] = _measure(generator)
        radius = _measured[generator]
    # A crop smaller than the network's minimum would be padded, although the image continues beyond the crop.
    return None if radius is None else max(radius, traits.min_side - 1)


@torch.no_grad()
def _measure(generator: SRModule) -> int | None:
    """Measure the receptive radius: how far a NaN spreads.

    A NaN passes through any layer, so it reaches every output pixel that depends on it.

    The radius is then verified: tiles must give the same result as one pass.
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
