"""Photos to try the page with: faces that the program draws, so nobody's portrait and under nobody's rights."""

import secrets
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from srgan_lightning.data.synthetic.faces import draw_face

SIDE, SCALE = 96, 4  # pixels of a photo, which upscaling takes a second for; of how many drawn ones each is made
#: The kinds of input that models differ in, of the same face, as the page names them.
EXAMPLES = ("Sharp face", "Blurred face", "JPEG face")


def write_example(kind: str, folder: Path) -> Path:
    """Draw an example and write it, each time anew: files of the page are deleted after a while.

    Args:
        kind: one of `EXAMPLES`.
        folder: that the page serves files from.

    Returns:
        The file, SIDE x SIDE pixels, in a folder whose name nobody can guess.
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
