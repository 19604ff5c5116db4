"""Training and validation views of an image source: what is cropped and flipped, and by which seed."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from srgan_lightning.data.degradation import resize_bicubic
from srgan_lightning.data.images import ImageSource
from srgan_lightning.errors import UserError

Sample = dict[str, Any]
"""`hr`: uint8 (3, H, W); `lr`: likewise, where the set has its own; `index`: int; `draw`: float in [0, 1)."""

GOLDEN = 0.6180339887498949


class SeededSampler(DistributedSampler[Any]):
    """Shuffles, and yields (index, seed): all that is random about a sample follows from these two numbers.

    So a sample is the same whichever worker, process or resumed run reads it. Lightning calls `set_epoch`.
    """

    #: An epoch, and how many of its samples a resumed run has already seen.
    seen = (0, 0)

    def __iter__(self) -> Iterator[Any]:
        epoch = self.epoch
        for index in islice(super().__iter__(), self.seen[1] if epoch == self.seen[0] else 0, None):
            yield index, int(np.random.SeedSequence((self.seed, epoch, index)).generate_state(1)[0])


class TrainingSet(Dataset[Sample]):
    """Random crops and flips of a source's images; indexed by the (index, seed) of `SeededSampler`.

    Args:
        source: the images.
        scale: LR is that many times smaller; for paired sources crops stay aligned to it.
        crop: side of the square HR crop in pixels, or None for whole images (all of one size then).
        hflip: mirror half of the images.
        rotate: turn and mirror by a random one of the eight symmetries of the square; for photos, not for faces.
        random_scale: shrink each photo by a random factor between this and 1 before it is cropped; 1 leaves it.
        shuffle_channels: put red, green and blue in random order.
    """

    def __init__(
        self,
        source: ImageSource,
        scale: int,
        crop: int | None,
        hflip: bool = True,
        rotate: bool = False,
        random_scale: float = 1.0,
        shuffle_channels: bool = False,
    ) -> None:
        self.source, self.scale, self.crop, self.hflip, self.rotate = source, scale, crop, hflip, rotate
        self.random_scale, self.shuffle_channels = random_scale, shuffle_channels

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        index, seed = key
        rng = np.random.default_rng(seed)
        images = {"hr": self.source.read(index)}
        if hasattr(self.source, "read_lr"):
            images["lr"] = self.source.read_lr(index)
        if self.crop is not None:
            images = self._crop(images, self.crop, rng, self.source.name(index))
        flip, turns = self.hflip and rng.random() < 0.5, int(rng.integers(4)) if self.rotate else 0
        order = rng.permutation(3) if self.shuffle_channels else None
        for key_, image in images.items():
            image = image.flip(-1) if flip else image
            image = image if order is None else image[order]
            images[key_] = torch.rot90(image, turns, (-2, -1)).contiguous()
        return {**images, "index": index, "draw": rng.random()}

    def _crop(self, images: dict[str, Tensor], side: int, rng: np.random.Generator, name: str) -> dict[str, Tensor]:
        height, width = images["hr"].shape[-2:]
        if min(height, width) < side:
            raise UserError(
                f"{name} is {width}x{height} pixels, smaller than data.crop={side}: remove it or crop less."
            )
        if "lr" not in images:
            window = side
            if self.random_scale < 1:  # a larger window, resized to the crop: the same as cropping a shrunken photo
                window = min(round(side / rng.uniform(self.random_scale, 1)), height, width)
            top, left = int(rng.integers(height - window + 1)), int(rng.integers(width - window + 1))
            hr = images["hr"][:, top : top + window, left : left + window]
            return {"hr": hr if window == side else resize_bicubic(hr[None], (side, side))[0]}
        scale, small = self.scale, side // self.scale
        top, left = int(rng.integers(height // scale - small + 1)), int(rng.integers(width // scale - small + 1))
        hr = images["hr"][:, top * scale : top * scale + side, left * scale : left * scale + side]
        return {"hr": hr, "lr": images["lr"][:, top : top + small, left : left + small]}


class ValidationSet(Dataset[Sample]):
    """Whole images, cut at the right and bottom to multiples of the scale, with a fixed degradation draw for each.

    Args:
        source: the images.
        scale: see above.
    """

    def __init__(self, source: ImageSource, scale: int) -> None:
        self.source, self.scale = source, scale

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        hr = self.source.read(index)
        height, width = (side - side % self.scale for side in hr.shape[-2:])
        # The golden ratio's multiples spread evenly over [0, 1) however many images there are.
        sample: Sample = {"hr": hr[:, :height, :width].contiguous(), "index": index, "draw": (index * GOLDEN) % 1.0}
        if hasattr(self.source, "read_lr"):
            sample["lr"] = self.source.read_lr(index)[:, : height // self.scale, : width // self.scale].contiguous()
        return sample
