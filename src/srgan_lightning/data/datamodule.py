"""The LightningDataModule behind all data groups."""

import math
from abc import abstractmethod
from typing import Any, Literal

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from srgan_lightning.data.augmentation import augment
from srgan_lightning.data.cache import cached
from srgan_lightning.data.datasets import OnError, Sample, SeededSampler, TrainingSet, ValidationSet
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.workers import worker_options
from srgan_lightning.imaging.reading import ImageSource
from srgan_lightning.metrics.psnr_ssim import SSIM_WINDOW
from srgan_lightning.utils.cores import share_of_cores, usable_cores
from srgan_lightning.utils.errors import UserError

Split = Literal["train", "val", "test"]
MAX_WORKERS = 256  # each worker is a process
MAX_REPEATS = 100_000


def check_seed(seed: int) -> None:
    """Raise UserError for a seed that the random generators reject."""
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UserError(f"seed={seed}: give a whole number from 0 to {2**32 - 1}.")


class SuperResolutionData(lightning.LightningDataModule):
    """A data module that transfers uint8 HR to the device and degrades it to LR there. Subclasses provide the images.

    Modules receive batches with `hr` (B, 3, H, W) and `lr` (B, 3, H / scale, W / scale), float32 RGB in [0, 1], and
    `index` (B,).

    Args:
        degradation: makes LR from HR.
        batch_size: images per process and step.
        val_batch_size: images per validation step; 1 if images differ in size.
        crop: side of the random square HR crop for training, or None for whole images.
        hflip: mirror half of the training images.
        rotate: turn training images by random right angles.
        random_scale: shrink training images by a random factor from this value to 1 before cropping; 1 turns it off.
        shuffle_channels: put the channels of training images in random order.
        num_workers: loader processes per training process; None uses its share of the cores, less one, from 1 to 8.
        seed: determines order, crops, flips and degradations of every epoch.
        cache: `memmap` decodes all images once and stores their pixels on the disk; None decodes them every time.
        cache_dir: folder of all caches.
        verify_cache: compare the whole cache with its checksums when it is opened.
        on_error: `raise` stops the run at an image that cannot be read or is too small, and names it; `skip` warns and
            replaces it by another image.
        repeats: passes over the images in one epoch of training.

    Raises:
        UserError: an option is out of its range, or sizes do not match.
    """

    #: Whether the option `cache` works with the images of this class.
    cacheable = True

    def __init__(
        self,
        degradation: Bicubic,
        batch_size: int = 16,
        val_batch_size: int = 1,
        crop: int | None = None,
        hflip: bool = True,
        rotate: bool = False,
        random_scale: float = 1.0,
        shuffle_channels: bool = False,
        num_workers: int | None = None,
        seed: int = 0,
        cache: Literal["memmap"] | None = None,
        cache_dir: str = "outputs/cache",
        verify_cache: bool = False,
        on_error: OnError = "raise",
        repeats: int = 1,
    ) -> None:
        super().__init__()
        check_seed(seed)
        self.degradation, self.scale = degradation, degradation.scale
        self.batch_size, self.val_batch_size = batch_size, val_batch_size
        self.crop = crop
        self.augmentation: dict[str, Any] = {
            "hflip": hflip,
            "rotate": rotate,
            "random_scale": random_scale,
            "shuffle_channels": shuffle_channels,
        }
        self.num_workers, self.seed = num_workers, seed
        self.cache, self.cache_dir, self.verify_cache = cache, cache_dir, verify_cache
        self.on_error: OnError = on_error
        self.repeats = repeats
        self.skipped = 0  # broken images replaced by others in this process
        self.sources: dict[str, ImageSource] = {}
        self.epoch, self.batches_seen = 0, 0  # the position at which a resumed run continues
        self.cores: int | None = None  # this process's share of the cores, known once all processes run
        if cache not in (None, "memmap"):
            raise UserError(f"data.cache={cache!r} is unknown: use null or memmap.")
        if on_error not in ("raise", "skip"):
            raise UserError(f"data.on_error={on_error!r} is unknown: use raise or skip.")
        if batch_size < 1 or val_batch_size < 1:
            raise UserError(f"data.batch_size={batch_size}, data.val_batch_size={val_batch_size}: give 1 or more.")
        if not isinstance(repeats, int) or not 1 <= repeats <= MAX_REPEATS:
            raise UserError(f"data.repeats={repeats}: give 1 to {MAX_REPEATS} passes over the images.")
        if num_workers is not None and not 0 <= num_workers <= MAX_WORKERS:
            raise UserError(f"data.num_workers={num_workers}: give 0 to {MAX_WORKERS}, or null.")
        if not 0 < random_scale <= 1:
            raise UserError(f"data.random_scale={random_scale}: give the smallest factor, above 0 and at most 1.")
        if random_scale < 1 and crop is None:
            raise UserError(
                f"data.random_scale={random_scale} shrinks photos before they are cropped: set data.crop too."
            )
        if crop is not None:
            self.check_hr_size(crop, crop, "data.crop")

    @property
    def min_lr_side(self) -> int:
        """Smallest side of LR in pixels that the degradation accepts."""
        return self.degradation.min_lr_side

    def min_side(self, split: Split) -> int:
        """Return the smallest allowed HR side in pixels: the crop in training, else what the degradation needs.

        For validation and test, it is also large enough for SSIM.
        """
        lr_side = self.min_lr_side
        if split != "train":
            # SSIM needs room for one window after `scale` pixels are cropped on every side.
            lr_side = max(lr_side, math.ceil(SSIM_WINDOW / self.scale) + 2)
        elif self.crop is not None:
            return self.crop
        return lr_side * self.scale

    def check_common_size(self, height: int, width: int, setting: str) -> None:
        """Raise UserError unless images of this common size suit training and validation."""
        if self.crop is None:
            self.check_hr_size(height, width, setting)
        elif self.crop > min(height, width):
            raise UserError(f"data.crop={self.crop} is larger than {setting}={width}x{height} (width x height).")
        if min(height, width) < (needed := self.min_side("val")):
            raise UserError(
                f"{setting}: HR of {width}x{height} pixels is too small to be degraded and scored in validation: use "
                f"at least {needed} pixels per side."
            )

    def check_hr_size(self, height: int, width: int, setting: str) -> None:
        """Raise UserError unless HR of that size can be degraded."""
        if height % self.scale or width % self.scale:
            good = (max(height // self.scale, 1) * self.scale, max(width // self.scale, 1) * self.scale)
            raise UserError(
                f"{setting}: HR of {width}x{height} pixels (width x height) cannot be divided by scale={self.scale}: "
                f"use {good[1]}x{good[0]}, for example."
            )
        if min(height, width) // self.scale < self.min_lr_side:
            raise UserError(
                f"{setting}: HR of {width}x{height} pixels gives LR of {width // self.scale}x{height // self.scale}, "
                f"but the blur of this degradation needs {self.min_lr_side} pixels per side: use larger HR, a "
                "smaller degradation.kernel, or degradation=bicubic."
            )

    @abstractmethod
    def source(self, split: Split) -> ImageSource:
        """Open one split; raise UserError if its images are missing or have unsuitable sizes."""

    def prepare_data(self) -> None:
        """Build the caches, on the first process of each node."""
        if self.cache is not None:
            self._open("train", "val")

    def _open(self, *splits: Split) -> None:
        for split in splits:
            if split not in self.sources:
                source = self.source(split)
                if self.cache is not None:
                    source = cached(source, self.cache_dir, self.workers, self.on_error)
                    if self.verify_cache:
                        source.verify()
                self.sources[split] = source

    def setup(self, stage: str) -> None:
        splits: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
        self._open(*splits.get(stage, ()))
        if stage == "fit":
            self._check_batches()
        if self.trainer is not None:
            self.cores = share_of_cores(self.trainer.node_rank)

    def _check_batches(self) -> None:
        images, needed = len(self.sources["train"]), self.batch_size * self._world_size
        if images * self.repeats < needed:
            raise UserError(
                f"The training set has {images} images, but one step needs {needed} "
                f"(data.batch_size={self.batch_size} x {self._world_size} processes): lower data.batch_size or, with "
                f"data=folder and data=pairs, set data.repeats={math.ceil(needed / max(images, 1))} or more."
            )

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def workers(self) -> int:
        """Number of loader processes of this training process."""
        if self.num_workers is not None:
            return self.num_workers
        return min(max((self.cores or usable_cores()) - 1, 1), 8)  # the training process itself needs a core

    def _loader(self, dataset: Dataset[Sample], sampler: DistributedSampler[Any], train: bool) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            batch_size=self.batch_size if train else self.val_batch_size,
            sampler=sampler,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            drop_last=train,  # batch normalisation needs full batches
            persistent_workers=train and self.workers > 0,
            # Without its own generator, the loader would draw from the global RNG at each start of an epoch and each
            # resume, so a resumed run would get other random numbers than an uninterrupted one.
            generator=torch.Generator().manual_seed(self.seed),
            **worker_options(self.workers),
        )

    def train_dataloader(self) -> DataLoader[Sample]:
        dataset = TrainingSet(self.sources["train"], self.scale, self.crop, on_error=self.on_error, **self.augmentation)
        sampler = SeededSampler(dataset, self._world_size, self._rank, self.seed, self.repeats)
        # Set the epoch here, because in a resumed run Lightning starts the loader's workers before it sets the epoch.
        sampler.set_epoch(self.epoch)
        sampler.seen = self.epoch, self.batches_seen * self.batch_size
        return self._loader(dataset, sampler, train=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Sample]:
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: Split) -> DataLoader[Sample]:
        dataset = ValidationSet(self.sources[split], self.scale, self.on_error, self.min_side(split))
        # The sampler repeats images so that all processes get equally many; `PSNRSSIM` drops the repeats.
        sampler: DistributedSampler[Any] = DistributedSampler(dataset, self._world_size, self._rank, shuffle=False)
        return self._loader(dataset, sampler, train=False)

    def state_dict(self) -> dict[str, int]:
        """Return the position in the order of the data, for checkpoints."""
        if self.trainer is None:
            return {}
        done = int(self.trainer.fit_loop.epoch_loop.batch_progress.current.completed)
        return {"epoch": self.trainer.current_epoch, "batches_seen": done}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.epoch, self.batches_seen = state_dict["epoch"], state_dict["batches_seen"]

    def on_before_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        self.skipped += int(batch.pop("skipped").sum())
        return batch

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        hr = augment(batch["hr"], batch).to(memory_format=torch.channels_last).float().div_(255)
        with torch.no_grad():
            own = "lr" in batch
            lr = augment(batch["lr"], batch).float().div(255) if own else self.degradation(hr, batch["degradation_u"])
        return {"hr": hr, "lr": lr.contiguous(memory_format=torch.channels_last), "index": batch["index"]}
