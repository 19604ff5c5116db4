"""Postprocess the network's result: match colours, and resize to any size."""

import math
from dataclasses import dataclass

from srgan_lightning.imaging.picture import Picture
from srgan_lightning.imaging.resizing import resize_picture
from srgan_lightning.inference.colour_matching import match_colours
from srgan_lightning.utils.errors import UserError

MAX_FACTOR, MAX_SIDE = 64, 2**20


@dataclass(frozen=True)
class Finish:
    """Options for the colours and size of results.

    Args:
        outscale: factor for width and height, above 0 and up to 64; None for the generator's scale.
        size: width and height in pixels of a box into which the result fits with its aspect ratio; None for no box.
        match_colours: give the result the low frequencies of the input.

    Raises:
        UserError: a number is out of its range, or both `outscale` and `size` are given.
    """

    outscale: float | None = None
    size: tuple[int, int] | None = None
    match_colours: bool = False

    def __post_init__(self) -> None:
        if self.outscale is not None and self.size is not None:
            raise UserError("outscale and size contradict each other: remove one of them.")
        if self.outscale is not None and not 0 < self.outscale <= MAX_FACTOR:  # also refuses NaN
            raise UserError(f"outscale={self.outscale:g}: give a factor above 0 and up to {MAX_FACTOR}.")
        if self.size is not None and not all(0 < side <= MAX_SIDE for side in self.size):
            width, height = self.size
            raise UserError(f"size={width}x{height}: give a width and a height of 1 to {MAX_SIDE:,} pixels.")

    def suffix(self, scale: int) -> str:
        """Return the suffix for the names of results, such as `_x4`, `_x2.5` or `_640x480`."""
        if self.size is not None:
            return "_{}x{}".format(*self.size)
        return f"_x{scale if self.outscale is None else self.outscale:g}"

    def size_of(self, height: int, width: int, scale: int) -> tuple[int, int]:
        """Return height and width of the result for an image of this height and width."""
        if self.size is not None:
            factor = min(self.size[0] / width, self.size[1] / height)
        else:
            factor = float(scale if self.outscale is None else self.outscale)
        return max(1, math.floor(height * factor + 0.5)), max(1, math.floor(width * factor + 0.5))

    def apply(self, sr: Picture, lr: Picture) -> Picture:
        """Apply the options to the network's result.

        Args:
            sr: the result; may be changed in place.
            lr: the input.
        """
        if self.match_colours:
            match_colours(sr.colour, lr.colour)
        height, width = lr.colour.shape[:2]
        size = self.size_of(height, width, sr.colour.shape[0] // height)
        return sr if size == sr.colour.shape[:2] else resize_picture(sr, size)
