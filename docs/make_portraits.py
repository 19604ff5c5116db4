"""Make the picture of the README: python docs/make_portraits.py PHOTO,X,Y PHOTO,X,Y ... -o docs/portraits.jpg

X,Y is the middle of a face in its photo. For each kind of LR, each line shows two photos: LR upscaled by bicubic
interpolation and by two bundled models, and HR.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.v2.functional import crop, pil_to_tensor, to_pil_image

from srgan_lightning import load_generator
from srgan_lightning.data.degradation import Bicubic, Blur
from srgan_lightning.imaging.ops import resize_bicubic

HEIGHT, WIDTH = 228, 200  # of a face, in pixels of HR; both are multiples of the scale, 4
GAP, TITLE, FONT = 4, 34, 24  # pixels between faces, height of a line of text, size of its letters
KINDS = {
    "sharp LR": Bicubic(4),
    "blurred LR": Blur(4, sigma=(1.2, 1.2)),
    "JPEG-compressed LR (quality 75)": Bicubic(4, jpeg=(75, 75)),
}
MODELS = {"SRResNet": "srresnet-faces-x4", "SRGAN": "srgan-faces-x4"}
COLUMNS = ["bicubic", *MODELS, "original"]


def read_face(argument: str) -> Tensor:
    """Return the face that a command-line argument names, (1, 3, HEIGHT, WIDTH) in [0, 1]."""
    path, x, y = argument.rsplit(",", 2)
    with Image.open(Path(path)) as photo:
        pixels = pil_to_tensor(photo.convert("RGB"))
    return crop(pixels, int(y) - HEIGHT // 2, int(x) - WIDTH // 2, HEIGHT, WIDTH)[None] / 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", metavar="PHOTO,X,Y")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    generators = [load_generator(name) for name in MODELS.values()]
    faces = [read_face(argument) for argument in options.photos]
    lines = [faces[index : index + 2] for index in range(0, len(faces), 2)]

    step = WIDTH + GAP
    size = (2 * len(COLUMNS) * step - GAP, TITLE + len(KINDS) * (TITLE + len(lines) * (HEIGHT + GAP)))
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(FONT)
    for column, title in enumerate(COLUMNS * 2):
        draw.text((column * step + WIDTH // 2, TITLE // 2), title, "black", font, anchor="mm")
    top = TITLE
    for kind, degradation in KINDS.items():
        draw.text((GAP, top + TITLE // 2), kind, "black", font, anchor="lm")
        top += TITLE
        for line in lines:
            cells: list[Tensor] = []
            for hr in line:
                lr = degradation(hr, torch.tensor([0.5]))
                with torch.inference_mode():
                    cells += [resize_bicubic(lr, (HEIGHT, WIDTH)), *(generator(lr) for generator in generators), hr]
            for column, cell in enumerate(cells):
                picture.paste(to_pil_image((cell[0].clamp(0, 1) * 255).round().byte()), (column * step, top))
            top += HEIGHT + GAP
    picture.save(options.output, quality=80)


if __name__ == "__main__":
    main()
