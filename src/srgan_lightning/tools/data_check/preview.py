"""Draw a preview of a degradation: HR images, and several LR images of each with their parameters."""

import textwrap
from itertools import islice

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor

from srgan_lightning.data.augmentation import augment
from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.data.datasets import GOLDEN
from srgan_lightning.imaging.picture_grid import draw_grid
from srgan_lightning.utils.errors import UserError

SIDE, SAMPLES = 288, 5  # approximate side of a drawn picture in pixels; number of LR pictures per HR image
CAPTION = 46  # height of a caption in pixels


def preview(data: SuperResolutionData, images: int) -> Tensor:
    """Draw a row for each of the first images that training reads, cropped and flipped as in training.

    Args:
        data: the data module of a configuration.
        images: maximum number of rows.

    Returns:
        (3, H, W) in [0, 1]; pixels are enlarged by nearest neighbour.

    Raises:
        UserError: the data include LR files, or cannot be read.
    """
    data.batch_size, data.num_workers = 1, 0
    data.setup("fit")
    rows: list[list[Tensor]] = []
    for batch in islice(data.train_dataloader(), images):
        if "lr" in batch:
            raise UserError("preview shows the degradation of HR, but these data include LR files: remove preview.")
        hr = augment(batch["hr"], batch).float() / 255
        sides = [min(side, SIDE) // data.scale * data.scale for side in hr.shape[-2:]]
        hr = center_crop(hr, sides)
        u = (batch["degradation_u"].float() + torch.arange(SAMPLES) * GOLDEN) % 1
        lr = data.degradation(hr.expand(SAMPLES, -1, -1, -1), u)
        zoom = max(SIDE // max(sides), 1)
        row = [_captioned(hr[0], zoom, f"{sides[1]}x{sides[0]}")]
        texts = data.degradation.describe(u)
        rows.append(row + [_captioned(one, zoom * data.scale, text) for one, text in zip(lr, texts, strict=True)])
    return draw_grid(rows, ["HR", *(f"LR {number}" for number in range(1, SAMPLES + 1))])


def _captioned(image: Tensor, zoom: int, text: str) -> Tensor:
    """Enlarge an image (3, H, W) by a whole factor, and put a caption below it."""
    large = image.repeat_interleave(zoom, dim=1).repeat_interleave(zoom, dim=2)
    strip = Image.new("RGB", (large.shape[-1], CAPTION), "white")
    lines = "\n".join(textwrap.wrap(text, max(large.shape[-1] // 6, 8))[:3])
    ImageDraw.Draw(strip).multiline_text((2, 2), lines, fill="black", font=ImageFont.load_default(11), spacing=2)
    return torch.cat([large, pil_to_tensor(strip) / 255], dim=1)
