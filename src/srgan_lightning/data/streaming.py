"""`data=streaming`: read shards of `make_shards` from a disk or an object store with litdata."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from srgan_lightning.data.celeba import Fit, check_fit, fit_photo
from srgan_lightning.data.datamodule import Split, SuperResolutionData
from srgan_lightning.data.datasets import Sample, TrainingSet, sample_seed
from srgan_lightning.data.workers import worker_options
from srgan_lightning.imaging.reading import decode
from srgan_lightning.utils.errors import UserError

try:
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming.serializers import Serializer
    from litdata.streaming.writer import BinaryWriter as BinaryWriter  # for `data.sharding`

    from srgan_lightning.data.shard_index import INDEX, PICKLED, check_index, fetch_index
except ImportError as error:
    raise UserError("Shards need litdata: pip install '.[streaming]'.") from error


logging.getLogger("litdata").setLevel(logging.WARNING)  # litdata logs its cache in every process


class _Refused(Serializer):  # type: ignore[misc]  # litdata is untyped
    """A replacement for litdata's pickle serializer, so that untrusted shards never execute code."""

    def serialize(self, data: Any) -> tuple[bytes, str | None]:
        raise UserError("These shards can only hold images.")

    def deserialize(self, data: bytes) -> Any:
        raise UserError(PICKLED)

    def can_serialize(self, data: Any) -> bool:
        return False


SERIALIZERS = {"pickle": _Refused()}


class Shards:
    """The images in a folder of shards, by index. Validation and test `read` them; training uses `ShardStream`.

    Args:
        url: a folder, or a URL in an object store such as s3://bucket/shards/val.
        setting: the option that named the folder, for error messages.
        size: (height, width) to which `decode` crops or resizes images, or None for their own size.
        fit: how to reach `size`; see `CelebA`.

    Raises:
        UserError: there are no shards of images.
    """

    def __init__(self, url: str, setting: str, size: tuple[int, int] | None, fit: Fit) -> None:
        self.url, self.size, self.fit = url, size, fit
        self._opened: tuple[int, StreamingDataset] | None = None
        local = Path(url) if Path(url).is_dir() else None
        try:
            with tempfile.TemporaryDirectory() as folder:
                index = fetch_index(url, folder)
                check_index(index, local)
                dataset = StreamingDataset(url, serializers=SERIALIZERS, index_path=str(index))
            #: The folder itself, or litdata's cache folder for a URL. `read` opens this place, with its checked index.
            self.place = dataset.input_dir
            check_index(Path(self.place.path, INDEX))  # an earlier run may have left another index in the cache
        except UserError:
            raise
        except Exception as error:  # litdata raises whatever its object stores raise
            raise UserError(
                f"{setting}={url}: no shards can be read there ({_reason(error)}). Write shards with "
                "`python -m srgan_lightning.make_shards data=folder output=shards ...`, or copy them again."
            ) from error
        self.chunks = list(zip(dataset.subsampled_files, dataset.region_of_interest, strict=True))
        self.count: int = sum(stop - start for _, (start, stop) in self.chunks)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"{index:09d}"  # errors give the real name, which only the shard holds

    def read(self, index: int) -> Tensor:
        # Every process opens the shards itself, because forked workers would share one file position.
        with self.reading():
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = os.getpid(), StreamingDataset(self.place, serializers=SERIALIZERS)
            return self.decode(self._opened[1][index])

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn litdata's errors for damaged or unavailable shards into a UserError."""
        try:
            yield
        except (UserError, StopIteration):
            raise
        except Exception as error:
            raise UserError(
                f"The shards in {self.url} cannot be read ({_reason(error)}). Copy them again, or write them again "
                "with `python -m srgan_lightning.make_shards`."
            ) from error

    def decode(self, item: dict[str, Any]) -> Tensor:
        """Decode the image of a shard's item to uint8 RGB (3, H, W)."""
        name = f"{item['name']} in {self.url}"
        image = decode(item["image"], name)
        return image if self.size is None else fit_photo(image, self.size, self.fit, name)

    def files(self) -> list[Path]:
        return [Path(self.url, name) for name, _ in self.chunks] if "://" not in self.url else []

    def describe(self) -> str:
        return f"shards, {self.fit if self.size else 'whole'}, {self.size}, {self.chunks}"


def _reason(error: Exception) -> str:
    """Format an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


class ShardStream(StreamingDataset):  # type: ignore[misc]
    """Training samples in litdata's order: random shards for each process and worker, with their images shuffled.

    The order follows from the seed, the epoch and the numbers of processes and workers. The random numbers of a sample
    follow from the seed, the epoch and the sample's index in the shards, whichever process makes it.

    Args:
        shards: the images.
        view: makes samples from images.
        seed: the run's seed.
        cache_size: maximum disk space for shards of an object store, such as 100GB; None for litdata's default.
    """

    def __init__(self, shards: Shards, view: TrainingSet, seed: int, cache_size: str | None) -> None:
        super().__init__(
            shards.place,
            shuffle=True,
            drop_last=True,  # so that every process takes the same number of steps
            seed=seed,
            max_cache_size=cache_size,
            serializers=SERIALIZERS,
        )
        self.shards, self.view = shards, view

    def __next__(self) -> Sample:
        with self.shards.reading():
            item = super().__next__()
            seed = sample_seed(self.seed, self.current_epoch, item["index"])
            sample = self.view.make_sample({"hr": self.shards.decode(item)}, item["name"], item["index"], seed)
        return {**sample, "skipped": 0}


class ShardLoader(StreamingDataLoader):  # type: ignore[misc]
    """litdata's loader, with a start position that the caller sets.

    litdata counts an epoch when an iteration starts, and keeps a restored position until an iterator is exhausted. Both
    would be wrong here: Lightning discards some iterators without using them, and stops others after the last batch of
    the epoch, before they are exhausted.

    Args:
        stream: the samples.
        seen: an epoch, and how many of its batches were used before the run was resumed.
        **options: see `torch.utils.data.DataLoader`.
    """

    def __init__(self, stream: ShardStream, seen: tuple[int, int], **options: Any) -> None:
        super().__init__(stream, **options)
        self.seen = seen
        self.set_epoch(seen[0])
        self.sampler.set_epoch = self.set_epoch  # Lightning sets the epoch only on samplers

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        self.restore = False
        self.dataset.reset_state_dict()
        self.current_epoch = self.epoch  # litdata counts from 1, and adds 1 when the iteration starts
        batches = self.seen[1] if self.epoch == self.seen[0] else 0
        if batches >= len(self):
            return iter(())
        if batches:
            samples, number = batches * self.batch_size, self.epoch + 1
            self.dataset.set_epoch(number)
            place = {"current_epoch": number, "num_samples_yielded": samples}
            place["latest_worker_idx"] = (batches - 1) % max(self.num_workers, 1)
            place["dataset"] = self.dataset.state_dict(samples, self.num_workers, self.batch_size)
            super().load_state_dict(place)
        return super().__iter__()  # type: ignore[no-any-return]

    def state_dict(self) -> dict[str, Any]:
        return {}  # the data module saves the position

    def load_state_dict(self, obj: dict[str, Any]) -> None:
        pass


class StreamingData(SuperResolutionData):
    """Images read from shards one after the other, so the data set may be larger than the disk.

    A resumed run continues within its epoch. With the same batch size and numbers of processes and workers it continues
    exactly; otherwise the rest of that epoch repeats some images and omits others.

    Args:
        train_dir: shards for training, a folder or a URL.
        val_dir: shards for validation.
        test_dir: shards for the final test; None uses `val_dir`.
        size: (height, width) to which images are cropped or resized; None keeps their sizes.
        fit: how to reach `size`; see `CelebA`.
        cache_size: see `ShardStream`.
        **loader: see `SuperResolutionData`.
    """

    cacheable = False

    def __init__(
        self,
        train_dir: str | None,
        val_dir: str | None,
        test_dir: str | None = None,
        size: tuple[int, int] | None = None,
        fit: Fit = "square",
        cache_size: str | None = None,
        **loader: Any,
    ) -> None:
        super().__init__(**loader)
        if self.cache is not None or self.on_error != "raise" or self.repeats != 1:
            raise UserError(
                "data.cache, data.on_error=skip and data.repeats do not work with data=streaming, which is for many "
                "images that make_shards could read. Leave them out."
            )
        check_fit(size, fit)
        if size is not None:
            self.check_common_size(size[0], size[1], "data.size")
        self.dirs: dict[Split, str | None] = {"train": train_dir, "val": val_dir, "test": test_dir or val_dir}
        self.size, self.fit, self.cache_size = (size and (size[0], size[1])), fit, cache_size

    def source(self, split: Split) -> Shards:
        setting, url = f"data.{split}_dir", self.dirs[split]
        if url is None:
            raise UserError(f"{setting} is not set: give the shards, such as {setting}=PATH or s3://BUCKET/PATH.")
        return Shards(url, setting, self.size, self.fit)

    def train_dataloader(self) -> DataLoader[Sample]:
        shards = self.sources["train"]
        assert isinstance(shards, Shards)
        view = TrainingSet(shards, self.scale, self.crop, **self.augmentation)
        return ShardLoader(
            ShardStream(shards, view, self.seed, self.cache_size),
            seen=(self.epoch, self.batches_seen),
            batch_size=self.batch_size,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            **worker_options(self.workers),
        )
