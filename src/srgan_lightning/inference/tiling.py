"""Cutting an image into tiles that can be upscaled one by one, with the result of the whole image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from srgan_lightning.networks import Generator

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
    """Apply an upscaling function tile by tile: (1, C, H, W) to (1, C', scale * H, scale * W).

    Args:
        function: maps (1, C, h, w) to (1, C', scale * h, scale * w).
        image: (1, C, H, W).
        scale: how many times larger the result is.
        tile: see `tiles`.
        overlap: see `tiles`; from `function`'s radius on, the result is that of one call with the whole image.
    """
    height, width = image.shape[-2:]
    result: Tensor | None = None
    for part in tiles(height, width, tile, overlap):
        piece = function(image[..., part.crop[0], part.crop[1]])
        if result is None:  # only now is the number of channels known
            result = piece.new_empty((1, piece.shape[1], scale * height, scale * width))
        rows, columns = part.kept(scale)
        target_rows, target_columns = part.target(scale)
        result[..., target_rows, target_columns] = piece[..., rows, columns]
    assert result is not None, "an image has pixels"
    return result


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
