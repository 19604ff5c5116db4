"""Cutting an image into tiles that can be upscaled one by one, with the result of the whole image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.networks import Generator

#: Side of a tile in LR pixels for scores.
TILE = 256
#: Features at the size of SR take most memory: they are made for this many LR pixels squared at a time.
RECONSTRUCTION_TILE = 64

Box = tuple[slice, slice]  # rows, columns


@dataclass(frozen=True)
class Tile:
    """A part of an image in LR pixels.

    Args:
        core: what this tile contributes to the result; the cores of all tiles cover each pixel once.
        crop: the core and its surroundings, which the network looks at.
    """

    core: Box
    crop: Box

    def target(self, scale: int) -> Box:
        """Where the core lies in the whole result, in SR pixels."""
        return _scaled(self.core, (0, 0), scale)

    def kept(self, scale: int) -> Box:
        """Where the core lies in the result of the crop, in SR pixels."""
        return _scaled(self.core, (self.crop[0].start, self.crop[1].start), scale)


def tiles(height: int, width: int, tile: int, overlap: int) -> Iterator[Tile]:
    """Cut an image into parts of nearly equal size.

    A crop ends where the image ends: the network pads with zeros there and only there, as it does on the whole image.

    Args:
        height: of the image, in LR pixels.
        width: of the image, in LR pixels.
        tile: longest side of a core; 0 for the whole image at once.
        overlap: how far a crop reaches beyond its core on each side, in LR pixels.
    """
    for rows, seen_rows in _cut(height, tile, overlap):
        for columns, seen_columns in _cut(width, tile, overlap):
            yield Tile((rows, columns), (seen_rows, seen_columns))


def run_tiled(function: Callable[[Tensor], Tensor], image: Tensor, scale: int, tile: int, overlap: int) -> Tensor:
    """Apply an upscaling function tile by tile: (B, C, H, W) to (B, C', scale * H, scale * W).

    Args:
        function: maps (B, C, h, w) to (B, C', scale * h, scale * w).
        image: (B, C, H, W).
        scale: how many times larger the result is.
        tile: see `tiles`.
        overlap: see `tiles`; from `function`'s radius on, the result is that of one call with the whole image.
    """
    height, width = image.shape[-2:]
    result: Tensor | None = None
    for part in tiles(height, width, tile, overlap):
        piece = function(image[..., part.crop[0], part.crop[1]])
        if result is None:  # only now is the number of channels known
            result = piece.new_empty((*piece.shape[:2], scale * height, scale * width))
        rows, columns = part.kept(scale)
        target_rows, target_columns = part.target(scale)
        result[..., target_rows, target_columns] = piece[..., rows, columns]
    assert result is not None, "an image has pixels"
    return result


def super_resolve(generator: nn.Module, lr: Tensor) -> Tensor:
    """Upscale whole images in tiles, whose features are all that is held besides SR.

    Args:
        generator: has `scale`. Of a network that is no `Generator` nobody knows how far it sees: it gets whole images.
        lr: (B, 3, H, W) RGB in [0, 1].

    Returns:
        (B, 3, scale * H, scale * W) RGB, not clamped.
    """
    if not isinstance(generator, Generator):
        with torch.compiler.set_stance("force_eager"):  # else it would be compiled again for every size of photo
            whole: Tensor = generator(lr)
        return whole
    return run_tiled(partial(forward_lean, generator), lr, generator.scale, TILE, receptive_radius(generator))


def forward_lean(generator: Generator, lr: Tensor) -> Tensor:
    """Upscale as `Generator` does, its upper layers in smaller tiles."""
    features = generator.head(lr)
    features = features + generator.trunk(features)
    radius, scale = reconstruction_radius(generator), generator.scale
    residual = run_tiled(generator.upsample, features, scale, RECONSTRUCTION_TILE, radius).float()
    if generator.global_skip == "none":
        return residual
    height, width = lr.shape[-2:]
    return residual + resize_bicubic(lr, (scale * height, scale * width))


def reconstruction_radius(generator: Generator) -> int:
    """How many LR pixels away the upsampler and the tail look: 3 at x4."""
    radius = 4  # k9n3s1, in SR pixels
    for _ in range(generator.scale.bit_length() - 1):
        radius = -(-radius // 2) + 1  # PixelShuffle halves the distance, the k3 convolution before it adds one pixel
    return radius


def receptive_radius(generator: Generator) -> int:
    """How many LR pixels away an SR pixel depends on at most: 40 with 16 blocks at x4.

    The bicubic skip looks only 2 pixels away.
    """
    blocks: int = generator.arguments["blocks"]
    return 4 + (2 * blocks + 1) + reconstruction_radius(generator)  # k9 head, k3 trunk


def _cut(length: int, tile: int, overlap: int) -> Iterator[tuple[slice, slice]]:
    count = -(-length // tile) if tile else 1
    edges = [length * index // count for index in range(count + 1)]
    for start, stop in pairwise(edges):
        yield slice(start, stop), slice(max(start - overlap, 0), min(stop + overlap, length))


def _scaled(box: Box, origin: tuple[int, int], scale: int) -> Box:
    rows, columns = box
    top, left = origin
    return (
        slice(scale * (rows.start - top), scale * (rows.stop - top)),
        slice(scale * (columns.start - left), scale * (columns.stop - left)),
    )
