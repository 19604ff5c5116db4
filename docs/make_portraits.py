"""Make the picture of the README: python docs/make_portraits.py PHOTO PHOTO -o docs/portraits.jpg

Each row is a kind of LR; for each photo it shows LR enlarged by bicubic interpolation, the default model's SR, and HR.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor, to_pil_image
from torchvision.utils import make_grid

from srgan_lightning import load_generator
from srgan_lightning.artifacts.bundled import DEFAULT
from srgan_lightning.data.degradation import Bicubic, Blur
from srgan_lightning.imaging.ops import resize_bicubic

SIDE = 256
KINDS = {
    "sharp": Bicubic(4),
    "blurred": Blur(4, sigma=(1.2, 1.2)),
    "JPEG 75": Bicubic(4, jpeg=(75, 75)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    generator = load_generator(DEFAULT)
    pictures = []
    for degradation in KINDS.values():
        for path in options.photos:
            with Image.open(path) as photo:
                hr = center_crop(pil_to_tensor(photo.convert("RGB")), [SIDE, SIDE])[None].float() / 255
            lr = degradation(hr, torch.tensor([0.5]))
            with torch.inference_mode():
                pictures += [resize_bicubic(lr, (SIDE, SIDE))[0], generator(lr)[0], hr[0]]
    grid = make_grid(torch.stack(pictures).clamp(0, 1), nrow=3 * len(options.photos), padding=4, pad_value=1)
    to_pil_image((grid * 255).round().byte()).save(options.output, quality=88)


if __name__ == "__main__":
    main()
