"""The example photos of the web page."""

from pathlib import Path

import numpy as np
from PIL import Image

from srgan_lightning.tools.web.examples import EXAMPLES, write_example


def test_examples_are_three_kinds_of_photo(tmp_path: Path) -> None:
    sharp, blurred, jpeg = (write_example(kind, tmp_path) for kind in EXAMPLES)
    for file, kind in ((sharp, "PNG"), (blurred, "PNG"), (jpeg, "JPEG")):
        with Image.open(file) as image:
            assert (image.size, image.format) == ((96, 96), kind)
    edges = [np.abs(np.diff(np.asarray(Image.open(file).convert("L"), float))).mean() for file in (sharp, blurred)]
    assert edges[1] < 0.8 * edges[0]
