"""Cut an image into tiles that are upscaled one by one, with the same result as the whole image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

Box = tuple[slice, slice]  # rows, columns


@dataclass(frozen=True)
class Tile:
    """A part of an image, in LR pixels.

    Args:
        core: the part of the result that this tile provides; the cores of all tiles cover each pixel once.
        crop: the core with its surroundings, the network's input.
    """

    core: Box
    crop: Box

    def target(self, scale: int) -> Box:
        """Return the core's place in the whole result, in SR pixels."""
        return _scaled(self.core, (0, 0), scale)

    def kept(self, scale: int) -> Box:
        """Return the core's place in the result of the crop, in SR pixels."""
        return _scaled(self.core, (self.crop[0].start, self.crop[1].start), scale)


def tiles(height: int, width: int, tile: int, overlap: int, multiple: int = 1) -> Iterator[Tile]:
    """Cut an image into parts of nearly equal size.

    Crops do not extend beyond the image. So the network pads with zeros only at the borders of the image, as it does on
    the whole image.

    Args:
        height: height of the image in LR pixels.
        width: width of the image in LR pixels.
        tile: longest side of a core; 0 for the whole image at once.
        overlap: width of the surroundings of a core on each side, in LR pixels.
        multiple: crops begin at multiples of this number. Cores and overlaps may grow, by less than this number.
    """
    for rows, seen_rows in _cut(height, tile, overlap, multiple):
        for columns, seen_columns in _cut(width, tile, overlap, multiple):
            yield Tile((rows, columns), (seen_rows, seen_columns))


def run_tiled(
    function: Callable[[Tensor], Tensor], image: Tensor, scale: int, tile: int, overlap: int, multiple: int = 1
) -> Tensor:
    """Apply an upscaling function tile by tile: (B, C, H, W) to (B, C', scale * H, scale * W).

    Args:
        function: maps (B, C, h, w) to (B, C', scale * h, scale * w).
        image: (B, C, H, W).
        scale: how many times larger the result is.
        tile: see `tiles`.
        overlap: see `tiles`. If it is at least the receptive radius of `function`, the result equals one call with the
            whole image.
        multiple: see `tiles`.
    """
    height, width = image.shape[-2:]
    result: Tensor | None = None
    for part in tiles(height, width, tile, overlap, multiple):
        piece = function(image[..., part.crop[0], part.crop[1]])
        if result is None:  # the number of channels is unknown before the first tile
            result = piece.new_empty((*piece.shape[:2], scale * height, scale * width))
        rows, columns = part.kept(scale)
        target_rows, target_columns = part.target(scale)
        result[..., target_rows, target_columns] = piece[..., rows, columns]
    assert result is not None, "an image has pixels"
    return result


def _cut(length: int, tile: int, overlap: int, multiple: int) -> Iterator[tuple[slice, slice]]:
    count = -(-length // tile) if tile else 1
    inner = (length * index // count // multiple * multiple for index in range(1, count))
    edges = [0, *dict.fromkeys(edge for edge in inner if edge), length]
    overlap = -(-overlap // multiple) * multiple
    for start, stop in pairwise(edges):
        yield slice(start, stop), slice(max(start - overlap, 0), min(stop + overlap, length))


def _scaled(box: Box, origin: tuple[int, int], scale: int) -> Box:
    rows, columns = box
    top, left = origin
    return (
        slice(scale * (rows.start - top), scale * (rows.stop - top)),
        slice(scale * (columns.start - left), scale * (columns.stop - left)),
    )
