"""Make the picture of an ablation: python docs/make_ablation.py PHOTO,X,Y TITLE=FILE ... -o docs/ablation.jpg

X,Y is the middle of a square in a photo that no training has seen. It is shown from blurred LR, four times as large:
upscaled by bicubic interpolation and by each generator.safetensors, and as HR.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torchvision.transforms.v2.functional import crop, pil_to_tensor, to_pil_image

from srgan_lightning import load_generator
from srgan_lightning.data.degradation import Blur
from srgan_lightning.imaging.ops import resize_bicubic

SIDE, ZOOM, COLUMNS = 80, 4, 5  # of the square in HR pixels, how much it is enlarged, and squares of a line
GAP, TITLE = 6, 30  # pixels between squares, and of a title's line
SIGMA = 1.5  # of the blur


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", metavar="PHOTO,X,Y")
    parser.add_argument("weights", nargs="+", metavar="TITLE=FILE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    path, x, y = options.photo.rsplit(",", 2)
    with Image.open(Path(path)) as photo:
        hr = pil_to_tensor(photo.convert("RGB"))[None] / 255
    hr = hr[..., : hr.shape[-2] // 4 * 4, : hr.shape[-1] // 4 * 4]
    lr = Blur(4, sigma=(SIGMA, SIGMA))(hr, torch.tensor([0.5]))

    cells = {"bicubic": resize_bicubic(lr, (hr.shape[-2], hr.shape[-1]))}
    for argument in options.weights:
        title, _, file = argument.partition("=")
        with torch.inference_mode():
            cells[title] = load_generator(file)(lr)
    cells["HR"] = hr

    step, lines = SIDE * ZOOM + GAP, -(-len(cells) // COLUMNS)
    picture = Image.new("RGB", (COLUMNS * step - GAP, lines * (step + TITLE) - GAP), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(20)
    for index, (title, cell) in enumerate(cells.items()):
        left, top = index % COLUMNS * step, index // COLUMNS * (step + TITLE)
        square = to_pil_image(
            (crop(cell[0], int(y) - SIDE // 2, int(x) - SIDE // 2, SIDE, SIDE).clamp(0, 1) * 255).byte()
        )
        draw.text((left + step // 2, top + TITLE // 2), title, "black", font, anchor="mm")
        picture.paste(square.resize((SIDE * ZOOM,) * 2, Image.Resampling.NEAREST), (left, top + TITLE))
    picture.save(options.output, quality=85)


if __name__ == "__main__":
    main()
