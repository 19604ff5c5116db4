"""How near an exported file is to torch: on noise of several sizes, and on the user's own photos."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from srgan_lightning.imaging.reading import find_images, open_image, to_tensor
from srgan_lightning.networks.contract import SRModule, traits_of
from srgan_lightning.utils.errors import UserError

Upscaler = Callable[[Tensor], Tensor]
Size = tuple[int, int, int]  # batch, height, width

#: Batch, height, width of the LR that a file is checked with: odd, below the 9x9 kernels, and unlike what is traced.
CHECKED_SIZES = ((1, 17, 31), (2, 32, 48), (3, 5, 7))
#: Side of LR, for networks whose windows tracing takes for constants: their files take one image of this size.
FIXED_SIDE = 64
#: Most that values of SR, around 0..1, may differ from those of torch in float32, by the precision of the file.
TOLERANCES = {"32": 1e-4, "fp16": 1 / 255}
#: Side of what is cut out of the middle of a photo, in LR pixels, and how many photos of a folder are taken.
PHOTO_SIDE, MAX_PHOTOS = 128, 20


@dataclass(frozen=True)
class PhotoDifference:
    """How SR of one photo differs from torch's, both cut to 0..1.

    Args:
        name: of the photo.
        greatest: in levels of 255; NaN where the file gives NaN.
        within: how many values differ by one level at most.
        values: how many there are.
    """

    name: str
    greatest: float
    within: int
    values: int


@dataclass(frozen=True)
class Differences:
    """From torch in float32: the greatest by size of noise, absolute; and those of photos."""

    noise: dict[Size, float] = field(default_factory=dict)
    photos: list[PhotoDifference] = field(default_factory=list)


def fixed_side(generator: SRModule) -> int:
    """The one side of LR that an exported file takes; 0 where it takes any, as all but networks with windows do."""
    traits = traits_of(generator)
    multiple = traits.tile_multiple or traits.side_multiple
    return 0 if multiple == 1 else -(-max(FIXED_SIDE, traits.min_side) // multiple) * multiple


def sizes_taken(generator: SRModule, sizes: Iterable[Size]) -> list[Size]:
    """Batches, heights and widths that an exported file takes, from those that it might."""
    least, side = traits_of(generator).min_side, fixed_side(generator)
    return [(1, side, side)] if side else [(batch, max(h, least), max(w, least)) for batch, h, w in sizes]


@torch.no_grad()
def compare(generator: SRModule, exported: Upscaler, photos: Mapping[str, Tensor]) -> Differences:
    """Run both on noise of `CHECKED_SIZES`, and on photos.

    Args:
        generator: in float32.
        exported: what a file gives, read back.
        photos: (1, 3, H, W) LR by name, as `read_photos` gives them.
    """
    seeded = torch.Generator().manual_seed(0)
    found = Differences()
    for batch, height, width in sizes_taken(generator, CHECKED_SIZES):
        lr = torch.rand(batch, 3, height, width, generator=seeded)
        found.noise[batch, height, width] = float((exported(lr) - generator(lr)).abs().max())
    for name, lr in photos.items():
        levels = (exported(lr).clamp(0, 1) - generator(lr).clamp(0, 1)).abs() * 255
        within = int((levels <= 1).sum())
        found.photos.append(PhotoDifference(name, float(levels.max()), within, levels.numel()))
    return found


def read_photos(folder: str, generator: SRModule) -> dict[str, Tensor]:
    """The middle of photos of a folder, as LR, by name; of a large folder, some that are spread over it.

    Args:
        folder: with image files in it or below.
        generator: whose exported file is to take them.

    Returns:
        (1, 3, H, W) RGB in [0, 1], of `PHOTO_SIDE` at most; small ones are lengthened by reflection as far as the
        network needs it.

    Raises:
        UserError: there is no such folder, no image in it, or one that cannot be read.
    """
    files = find_images(folder, "--check")
    photos, broken = {}, []
    for path in files[:: -(-len(files) // MAX_PHOTOS)]:
        try:
            photos[str(path)] = _middle(to_tensor(open_image(path, str(path))), generator)
        except UserError as error:
            broken.append(str(error))
    if broken:
        more = f" So it is with {len(broken) - 1} more." if len(broken) > 1 else ""
        raise UserError(f"--check={folder}: {broken[0]}{more}")
    return photos


def _middle(photo: Tensor, generator: SRModule) -> Tensor:
    """(3, H, W) uint8 to (1, 3, h, w) in [0, 1]."""
    side, least = fixed_side(generator), traits_of(generator).min_side
    height, width = (min(extent, side or PHOTO_SIDE) for extent in photo.shape[1:])
    top, left = (photo.shape[1] - height) // 2, (photo.shape[2] - width) // 2
    cut = photo[:, top : top + height, left : left + width].numpy()
    lacking = [(0, max((side or least) - extent, 0)) for extent in (height, width)]
    cut = np.pad(cut, [(0, 0), *lacking], mode="symmetric")
    return torch.from_numpy(cut)[None] / 255
