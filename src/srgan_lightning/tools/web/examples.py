"""Example photos for the page: drawn faces, free of rights and of real people."""

import secrets
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from srgan_lightning.data.synthetic.faces import draw_face

#: Side of an example in pixels, and the factor by which the drawn face is downsampled to this side. An example is
#: upscaled in about a second.
SIDE, SCALE = 96, 4
#: Names of the examples on the page. They show the same face in different quality.
EXAMPLES = ("Sharp face", "Blurred face", "JPEG face")


def write_example(kind: str, folder: Path) -> Path:
    """Draw an example and write it to a new file, because the page deletes files after a while.

    Args:
        kind: one of `EXAMPLES`.
        folder: folder from which the page serves files.

    Returns:
        The file, SIDE x SIDE pixels, in a folder with a random name.
    """
    photo = Image.fromarray(draw_face(np.random.default_rng(7), SCALE * SIDE, SCALE * SIDE))
    photo = photo.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    file = folder / secrets.token_hex(16) / f"{kind.replace(' ', '_').lower()}.png"
    file.parent.mkdir()
    if kind == "Blurred face":
        photo = photo.filter(ImageFilter.GaussianBlur(1))
    if kind == "JPEG face":
        file = file.with_suffix(".jpg")
        photo.save(file, quality=40)
    else:
        photo.save(file)
    return file
