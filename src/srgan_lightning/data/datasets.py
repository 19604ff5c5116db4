"""Training and validation sets over an image source, with seeded crops and augmentation."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Literal

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from srgan_lightning.data.augmentation import draw_augmentation
from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.imaging.reading import ImageSource
from srgan_lightning.utils.errors import UserError

Sample = dict[str, Any]
"""A dictionary of one image: `hr`, uint8 RGB (3, H, W); `lr`, uint8 RGB (3, H / scale, W / scale), only if the source
has LR images; `index`, the image's index in the source; `degradation_u`, a float32 in [0, 1] that determines the
degradation; `skipped`, the number of broken images that this image replaces. Training samples also have the entries of
`draw_augmentation`."""

OnError = Literal["raise", "skip"]

GOLDEN = 0.6180339887498949
TRIES = 20  # replacements tried for a broken image; if all are broken too, training stops even with on_error=skip


def sample_seed(seed: int, number: int, index: int) -> int:
    """Return the seed of one image in one pass over the images, of this number since the start of the run."""
    return int(np.random.SeedSequence((seed, number, index)).generate_state(1)[0])


class SeededSampler(DistributedSampler[Any]):
    """A shuffling sampler of (index, seed), the two numbers that determine everything random about a sample.

    Every worker, process and resumed run therefore makes the same sample. Lightning calls `set_epoch`.

    Args:
        dataset: the images.
        processes: number of processes.
        rank: number of this process.
        seed: determines the order and the seeds of the samples.
        repeats: passes over the images in one epoch, each in its own order.
    """

    #: The epoch in which a run is resumed, and how many of its samples were used before. These samples are skipped.
    seen = (0, 0)

    def __init__(self, dataset: Dataset[Any], processes: int, rank: int, seed: int, repeats: int = 1) -> None:
        super().__init__(dataset, processes, rank, shuffle=True, seed=seed)
        self.repeats = repeats

    def __len__(self) -> int:
        return super().__len__() * self.repeats

    def __iter__(self) -> Iterator[Any]:
        first = self.epoch * self.repeats
        passes = (self._one_pass(number) for number in range(first, first + self.repeats))
        return islice(chain.from_iterable(passes), self.seen[1] if self.epoch == self.seen[0] else 0, None)

    def _one_pass(self, number: int) -> Iterator[Any]:
        one: DistributedSampler[Any] = DistributedSampler(self.dataset, self.num_replicas, self.rank, seed=self.seed)
        one.set_epoch(number)
        return ((index, sample_seed(self.seed, number, index)) for index in one)


class SourceView(Dataset[Sample]):
    """Base class of both sets: it reads images, and replaces those that cannot be read.

    Args:
        source: the images.
        scale: upscaling factor.
        on_error: `raise` raises the UserError of a broken image; `skip` uses another image; each process warns once per
            broken image.
    """

    def __init__(self, source: ImageSource, scale: int, on_error: OnError = "raise") -> None:
        self.source, self.scale, self.on_error = source, scale, on_error
        self.warned: set[int] = set()

    def __len__(self) -> int:
        return len(self.source)

    def _read(self, index: int) -> dict[str, Tensor]:
        images = {"hr": self.source.read(index)}
        if hasattr(self.source, "read_lr"):
            images["lr"] = self.source.read_lr(index)
        return images

    def _first_readable(self, choices: Iterable[int], make: Callable[[int], Sample]) -> Sample:
        skipped = 0
        for index in choices:
            try:
                return {**make(index), "skipped": skipped}
            except UserError as error:
                if self.on_error == "raise":
                    raise
                skipped, last = skipped + 1, error
                if index not in self.warned:
                    self.warned.add(index)
                    warnings.warn(f"data.on_error=skip: {error}", stacklevel=2)
        raise UserError(f"data.on_error=skip: {skipped} images in a row cannot be used. The last one: {last}")


class TrainingSet(SourceView):
    """Random crops of a source's images with their augmentation, indexed by the (index, seed) of `SeededSampler`.

    Args:
        source: the images.
        scale: upscaling factor; crops of paired sources are aligned to it.
        crop: side of the square HR crop in pixels, or None for whole images, which must then have one size.
        hflip: mirror half of the images.
        rotate: rotate by random right angles; together with `hflip`, this gives all eight symmetries of the square. It
            suits photos, but not faces.
        random_scale: shrink each photo by a random factor from this value to 1 before cropping; 1 turns it off.
        shuffle_channels: put red, green and blue in random order.
        on_error: see `SourceView`; the sample's seed decides which image replaces a broken one.
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
        on_error: OnError = "raise",
    ) -> None:
        super().__init__(source, scale, on_error)
        self.crop, self.hflip, self.rotate = crop, hflip, rotate
        self.random_scale, self.shuffle_channels = random_scale, shuffle_channels

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        index, seed = key
        return self._first_readable(
            self._choices(index, seed),
            lambda chosen: self.make_sample(self._read(chosen), self.source.name(chosen), chosen, seed),
        )

    def _choices(self, index: int, seed: int) -> Iterator[int]:
        yield index
        yield from np.random.default_rng((seed, index)).integers(len(self), size=TRIES).tolist()

    def make_sample(self, images: dict[str, Tensor], name: str, index: int, seed: int) -> Sample:
        """Make a training sample: cropped images, and the numbers for `augment` and the degradation.

        Args:
            images: `hr` uint8 (3, H, W), and `lr` if the source has LR images.
            name: name of the image, for error messages.
            index: index of the image.
            seed: seed of the sample.
        """
        rng = np.random.default_rng(seed)
        if self.crop is not None:
            images = self._crop(images, self.crop, rng, name)
        height, width = images["hr"].shape[-2:]
        drawn = draw_augmentation(rng, self.hflip, self.rotate, self.shuffle_channels, square=height == width)
        return {**images, **drawn, "index": index, "degradation_u": np.float32(rng.random())}

    def _crop(self, images: dict[str, Tensor], side: int, rng: np.random.Generator, name: str) -> dict[str, Tensor]:
        height, width = images["hr"].shape[-2:]
        if min(height, width) < side:
            raise UserError(
                f"{name} is {width}x{height} pixels, smaller than data.crop={side}: remove it or lower data.crop."
            )
        if "lr" not in images:
            window = side
            if self.random_scale < 1:  # resizing a larger window to the crop is like cropping a shrunken photo
                window = min(round(side / rng.uniform(self.random_scale, 1)), height, width)
            top, left = int(rng.integers(height - window + 1)), int(rng.integers(width - window + 1))
            hr = images["hr"][:, top : top + window, left : left + window]
            return {"hr": hr if window == side else resize_bicubic(hr[None], (side, side))[0]}
        scale, small = self.scale, side // self.scale
        top, left = int(rng.integers(height // scale - small + 1)), int(rng.integers(width // scale - small + 1))
        hr = images["hr"][:, top * scale : top * scale + side, left * scale : left * scale + side]
        return {"hr": hr, "lr": images["lr"][:, top : top + small, left : left + small]}


class ValidationSet(SourceView):
    """Whole images, cropped at the right and bottom to multiples of the scale, each with a fixed `degradation_u`.

    With `on_error=skip` the next image replaces a broken one, and the sample has the index of that next image.
    `PSNRSSIM` counts each index once, so the scores are those of the readable images for any number of processes.

    Args:
        source: the images.
        scale: upscaling factor.
        on_error: see `SourceView`.
        min_side: smallest side in pixels for degradation and scores; smaller images are treated as broken.
    """

    def __init__(self, source: ImageSource, scale: int, on_error: OnError = "raise", min_side: int = 1) -> None:
        super().__init__(source, scale, on_error)
        self.min_side = min_side

    def __getitem__(self, index: int) -> Sample:
        return self._first_readable(((index + step) % len(self) for step in range(len(self))), self._whole)

    def _whole(self, index: int) -> Sample:
        images = self._read(index)
        height, width = images["hr"].shape[-2:]
        if min(height, width) < self.min_side:
            raise UserError(
                f"{self.source.name(index)} is {width}x{height} pixels, too small to be degraded or scored: "
                f"{self.min_side} pixels per side are needed. Remove it from the validation images."
            )
        height, width = height - height % self.scale, width - width % self.scale
        # Multiples of the golden ratio, modulo 1, are spread evenly over [0, 1) for any number of images.
        sample: Sample = {
            "hr": images["hr"][:, :height, :width],
            "index": index,
            "degradation_u": np.float32((index * GOLDEN) % 1.0),
        }
        if "lr" in images:
            sample["lr"] = images["lr"][:, : height // self.scale, : width // self.scale]
        return sample
