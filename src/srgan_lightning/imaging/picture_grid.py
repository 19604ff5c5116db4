"""Draw pictures in a grid with a title over each column."""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.v2.functional import pil_to_tensor
from torchvision.utils import make_grid

#: Height of the title row, and width of the white border around each picture, in pixels.
TITLE_HEIGHT, PADDING = 20, 4


def draw_grid(rows: Sequence[Sequence[Tensor]], titles: Sequence[str]) -> Tensor:
    """Draw a grid on white.

    Args:
        rows: rows of pictures (3, H, W) in [0, 1]; smaller ones are centred in cells of the largest size.
        titles: one title per column.

    Returns:
        (3, H', W') in [0, 1].
    """
    pictures = [picture for row in rows for picture in row]
    height, width = (max(picture.shape[side] for picture in pictures) for side in (-2, -1))
    cells = torch.stack([centred(picture, height, width) for picture in pictures])
    grid: Tensor = make_grid(cells, nrow=len(titles), padding=PADDING, pad_value=1.0)
    if len(cells) == 1:  # make_grid adds no border to a single picture
        grid = pad(cells[0], [PADDING] * 4, value=1.0)
    head = Image.new("RGB", (grid.shape[-1], TITLE_HEIGHT), "white")
    for column, title in enumerate(titles):
        middle = PADDING + column * (width + PADDING) + width / 2
        font = ImageFont.load_default(13)
        ImageDraw.Draw(head).text((middle, TITLE_HEIGHT / 2 + 1), title, fill="black", font=font, anchor="mm")
    return torch.cat([pil_to_tensor(head).to(grid) / 255, grid], dim=-2)


def centred(picture: Tensor, height: int, width: int) -> Tensor:
    """Centre a picture (3, h, w) on white, (3, height, width)."""
    top, left = (height - picture.shape[-2]) // 2, (width - picture.shape[-1]) // 2
    sides = [left, width - picture.shape[-1] - left, top, height - picture.shape[-2] - top]
    return pad(picture, sides, value=1.0)
