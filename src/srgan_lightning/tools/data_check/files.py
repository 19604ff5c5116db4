"""Check one file, or one pair of LR and HR."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from srgan_lightning.imaging.reading import CONVERSIONS, open_image, opened, orientation, to_tensor
from srgan_lightning.tools.data_check.duplicates import Fingerprint, fingerprint
from srgan_lightning.tools.data_check.findings import Finding
from srgan_lightning.tools.data_check.spectrum import MIN_DETAIL, fine_detail
from srgan_lightning.utils.errors import UserError, printable

#: Smallest correlation between LR and downsampled HR; below it, they show different things. Two different portraits
#: have a correlation of up to 0.74, and LR with a blur of sigma 2 has at least 0.79.
MIN_CORRELATION = 0.75
MIN_PSNR = 18.0  # smallest PSNR in dB between LR and downsampled HR; bicubic LR has 40 or more

Source = Callable[[], str | Path | IO[bytes]]


@dataclass(frozen=True)
class Item:
    """A file to be checked.

    Args:
        split: the split to which the file belongs.
        name: its name in reports.
        source: a function that returns the file or raises UserError.
        least: smallest allowed (height, width).
        scale: number of which height and width should be multiples; 1 if any size is suitable.
        enlarged: (height, width) to which the image is resized; None if it is not resized.
        lr: its LR file; None if there is none.
        lr_scale: factor by which `lr` is smaller.
    """

    split: str
    name: str
    source: Source
    least: tuple[int, int] = (1, 1)
    scale: int = 1
    enlarged: tuple[int, int] | None = None
    lr: "Item | None" = None
    lr_scale: int = 1


@dataclass
class CheckedFile:
    """The results of checking a file; a broken file has only findings."""

    item: Item
    findings: list[Finding] = field(default_factory=list)
    size: tuple[int, int] | None = None  # height, width
    fingerprint: Fingerprint | None = None

    def add(self, kind: str, detail: str, name: str | None = None) -> None:
        self.findings.append(Finding(kind, self.item.split, (name or self.item.name,), detail))


def check_file(item: Item) -> CheckedFile:
    """Decode and check a file; problems become findings, not exceptions."""
    checked = CheckedFile(item)
    image = _decoded(item, checked)
    lr = None if item.lr is None else _decoded(item.lr, checked)
    if image is None:
        return checked
    width, height = image.size
    checked.size, checked.fingerprint = (height, width), fingerprint(image)
    if height < item.least[0] or width < item.least[1]:
        checked.add("too_small", f"{width}x{height}, but {item.least[1]}x{item.least[0]} is needed")
    if height % item.scale or width % item.scale:
        checked.add("not_divisible", f"{width}x{height}, scale {item.scale}")
    if item.enlarged and (height < item.enlarged[0] or width < item.enlarged[1]):
        checked.add("enlarged", f"{width}x{height} to {item.enlarged[1]}x{item.enlarged[0]}")
    if image.getcolors(1):
        checked.add("flat", f"all pixels are {image.getpixel((0, 0))}")
    elif (share := fine_detail(image)) < MIN_DETAIL:
        checked.add("upsampled", f"share of fine detail {share:.2%}, below {MIN_DETAIL:.2%}")
    if item.lr is not None and lr is not None:
        for kind, detail in compare(image, lr, item.lr_scale):
            checked.add(kind, detail, item.lr.name)
    return checked


def compare(hr: Image.Image, lr: Image.Image, scale: int) -> Iterator[tuple[str, str]]:
    """Yield kinds and details of findings for a pair of HR and LR."""
    expected = (hr.width // scale, hr.height // scale)
    if lr.size != expected:
        yield "pair_size", f"{lr.width}x{lr.height}, but its HR needs {expected[0]}x{expected[1]}"
        return
    box = (0, 0, scale * lr.width, scale * lr.height)  # leaves out the remainder at the right and bottom of HR
    ours, theirs = (
        np.asarray(image, dtype=np.float64) for image in (hr.resize(lr.size, Image.Resampling.BICUBIC, box), lr)
    )
    psnr = 10 * np.log10(255**2 / max(float(np.square(ours - theirs).mean()), 1e-9))
    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    spread = float(np.sqrt(np.square(ours).mean() * np.square(theirs).mean()))
    if spread > 1 and (correlation := float((ours * theirs).mean()) / spread) < MIN_CORRELATION:
        yield "pair_content", f"correlation with the shrunken HR {correlation:.2f}, below {MIN_CORRELATION}"
    elif psnr < MIN_PSNR:
        yield "pair_far", f"{psnr:.1f} dB, below {MIN_PSNR:.0f}"


def _decoded(item: Item, checked: CheckedFile) -> Image.Image | None:
    """Decode an image as training does, upright and RGB; if it is broken, add a finding and return None."""
    try:
        file = item.source()
        with opened(file, item.name) as header:
            mode, turned = header.mode, orientation(header)
        if not isinstance(file, str | Path):
            file.seek(0)
        image = Image.fromarray(to_tensor(open_image(file, item.name)).permute(1, 2, 0).numpy())
    except UserError as error:
        # Remove the file's name and the advice, because the report adds its own.
        reason = str(error).removeprefix(f"{printable(item.name)} ").removeprefix("cannot be read as an image: ")
        checked.add("unreadable", reason.rsplit(". Remove or replace ", 1)[0], item.name)
        return None
    if mode in CONVERSIONS:
        checked.add("mode", CONVERSIONS[mode], item.name)
    if turned != 1:
        checked.add("orientation", f"EXIF orientation {turned}", item.name)
    return image
