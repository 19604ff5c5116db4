"""Compare an exported file with torch, on noise of several sizes and on the user's photos."""

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

#: Batch, height and width of LR for the check. Some sides are odd, and some are smaller than the 9x9 kernels.
#: All differ from the traced sides.
CHECKED_SIZES = ((1, 17, 31), (2, 32, 48), (3, 5, 7))
#: Side of LR in the files of networks with a fixed side (see `fixed_side`), raised if the network needs a larger one or
#: a multiple. Tracing turns windows, for example, into constants, so such a file accepts one image of this size only.
FIXED_SIDE = 64
#: Largest allowed difference from torch in float32, for values of SR in about 0..1, by precision of the file.
TOLERANCES = {"32": 1e-4, "fp16": 1 / 255}
#: Side of the central crop of a photo in LR pixels, and maximum number of photos of a folder.
PHOTO_SIDE, MAX_PHOTOS = 128, 20


@dataclass(frozen=True)
class PhotoDifference:
    """The difference between the file's SR and torch's SR of one photo, both clamped to 0..1.

    Args:
        name: name of the photo.
        greatest: largest difference in levels of 255; NaN if the file gives NaN.
        within: number of values that differ by at most one level.
        values: number of all values.
    """

    name: str
    greatest: float
    within: int
    values: int


@dataclass(frozen=True)
class Differences:
    """Differences of an exported file from torch in float32.

    Args:
        noise: largest absolute difference by (batch, height, width) of the noise.
        photos: one entry per photo.
    """

    noise: dict[Size, float] = field(default_factory=dict)
    photos: list[PhotoDifference] = field(default_factory=list)


def fixed_side(generator: SRModule) -> int:
    """Return the only side of LR that an exported file accepts; 0 if the file accepts any.

    Networks whose sides or tiles must be multiples of a number, such as those with windows, get a fixed side.
    """
    traits = traits_of(generator)
    multiple = traits.tile_multiple or traits.side_multiple
    return 0 if multiple == 1 else -(-max(FIXED_SIDE, traits.min_side) // multiple) * multiple


def sizes_taken(generator: SRModule, sizes: Iterable[Size]) -> list[Size]:
    """Adjust sizes (batch, height, width) to those that an exported file accepts."""
    least, side = traits_of(generator).min_side, fixed_side(generator)
    return [(1, side, side)] if side else [(batch, max(h, least), max(w, least)) for batch, h, w in sizes]


@torch.no_grad()
def compare(generator: SRModule, exported: Upscaler, photos: Mapping[str, Tensor]) -> Differences:
    """Compare an exported network with its generator, on noise of `CHECKED_SIZES` and on photos.

    Args:
        generator: the generator in float32.
        exported: the exported network, loaded from its file.
        photos: LR (1, 3, H, W) by name, from `read_photos`.
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
    """Read central crops of the photos in a folder as LR, by name; at most `MAX_PHOTOS`, spread over the folder.

    Args:
        folder: a folder with image files in it or below.
        generator: the exported generator, for its smallest or fixed side.

    Returns:
        (1, 3, H, W) RGB in [0, 1], with sides of at most `PHOTO_SIDE`, or with the network's fixed side. Photos that
        are too small are padded by reflection.

    Raises:
        UserError: the folder does not exist, has no image, or has an image that cannot be read.
    """
    files = find_images(folder, "--check")
    photos, broken = {}, []
    for path in files[:: -(-len(files) // MAX_PHOTOS)]:
        try:
            photos[str(path)] = _middle(to_tensor(open_image(path, str(path))), generator)
        except UserError as error:
            broken.append(str(error))
    if broken:
        more = f" {len(broken) - 1} more cannot be read." if len(broken) > 1 else ""
        raise UserError(f"--check={folder}: {broken[0]}{more}")
    return photos


def _middle(photo: Tensor, generator: SRModule) -> Tensor:
    """Crop a photo (3, H, W) uint8 to its centre, pad it if necessary, and return (1, 3, h, w) in [0, 1]."""
    side, least = fixed_side(generator), traits_of(generator).min_side
    height, width = (min(extent, side or PHOTO_SIDE) for extent in photo.shape[1:])
    top, left = (photo.shape[1] - height) // 2, (photo.shape[2] - width) // 2
    cut = photo[:, top : top + height, left : left + width].numpy()
    lacking = [(0, max((side or least) - extent, 0)) for extent in (height, width)]
    cut = np.pad(cut, [(0, 0), *lacking], mode="symmetric")
    return torch.from_numpy(cut)[None] / 255
