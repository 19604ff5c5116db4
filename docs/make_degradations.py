"""Make the picture of docs/data.md: python docs/make_degradations.py PHOTO PHOTO -o docs/degradations.jpg

Each row is a photo; the columns are HR and LR by each degradation, enlarged by nearest neighbour.
"""

import argparse
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor, to_pil_image
from torchvision.utils import make_grid

from srgan_lightning.cli.config import config_dir

SIDE, SCALE = 256, 4
CHOICES = (
    ["degradation=bicubic"],
    ["degradation=bicubic", "degradation.jpeg=[40,40]"],
    ["degradation=blur"],
    ["degradation=faces", "degradation.kernel=21", "degradation.sigma=[0.1,5]", "degradation.shrink=[0.8,4]"],
    ["degradation=real"],
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        degradations = [instantiate(compose("train", choice).degradation) for choice in CHOICES]
    pictures = []
    for number, path in enumerate(options.photos, start=1):
        with Image.open(path) as photo:
            hr = center_crop(pil_to_tensor(photo.convert("RGB")), [SIDE, SIDE])[None].float() / 255
        pictures.append(hr[0])
        for degradation in degradations:
            lr = degradation(hr, torch.tensor([number / (len(options.photos) + 1)]))[0]
            pictures.append(lr.repeat_interleave(SCALE, dim=1).repeat_interleave(SCALE, dim=2))
    grid = make_grid(torch.stack(pictures).clamp(0, 1), nrow=1 + len(CHOICES), padding=4, pad_value=1)
    to_pil_image((grid * 255).round().byte()).save(options.output, quality=85)


if __name__ == "__main__":
    main()
