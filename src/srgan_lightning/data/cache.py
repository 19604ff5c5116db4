"""`data.cache=memmap`: decode images once into one file, which all processes of a node map into memory."""

import fcntl
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from srgan_lightning.data.datasets import OnError
from srgan_lightning.data.fingerprint import fingerprint
from srgan_lightning.data.workers import worker_options
from srgan_lightning.imaging.reading import ImageSource, Size
from srgan_lightning.utils.errors import UserError

# Files in the folder of one source:
PIXELS = "pixels.bin"  # uint8 (3, H, W) of each image, one after the other
INDEX = "index.bin"  # int64 (images, 3): height, width and CRC-32 of each; height 0 for an image that cannot be read
HEADER = "cache.json"  # format, number of images, bytes of pixels, CRC-32 of the index
FORMAT = 1
FLUSH = 64 << 20  # bytes of pixels between writes of the index; a killed build resumes from the last write
AGAIN = "Delete that folder: the cache is then built again."


class CachedSource:
    """A source that reads images from a cache as views of mapped memory, so that a crop copies only its own pixels.

    Never write into the result of `read`: the mapping is read-only, so writing ends the process with SIGSEGV.

    Args:
        source: the original source, for names and fingerprint.
        folder: folder of the cache.

    Raises:
        UserError: the cache is damaged.
    """

    def __init__(self, source: ImageSource, folder: Path) -> None:
        self.source, self.folder = source, folder
        try:
            header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
            index = (folder / INDEX).read_bytes()
            self.index = np.frombuffer(index, np.int64).reshape(-1, 3)
            self.ends = np.cumsum(3 * self.index[:, 0] * self.index[:, 1])
            expected = {"format": FORMAT, "images": len(source), "index_crc32": zlib.crc32(index)}
            expected["bytes"] = (folder / PIXELS).stat().st_size
            if header != expected or len(self.index) != len(source) or expected["bytes"] != int(self.ends[-1]):
                raise ValueError(f"{HEADER} says {header}, but the files have {expected}")
            if expected["bytes"] == 0:
                raise UserError(
                    f"None of the {len(source)} images can be read, such as {source.name(0)}. Check the files with "
                    "`python -m srgan_lightning.check_data`."
                )
            pixels = np.memmap(folder / PIXELS, np.uint8, "r")
        except (OSError, ValueError) as error:
            raise UserError(f"The image cache {folder} is damaged ({error}). {AGAIN}") from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about read-only memory
            self.pixels = torch.from_numpy(pixels)

    def __reduce__(self) -> tuple[type["CachedSource"], tuple[ImageSource, Path]]:
        return type(self), (self.source, self.folder)  # a worker that was not forked maps the file itself

    def __len__(self) -> int:
        return len(self.source)

    @property
    def sizes(self) -> list[Size]:
        """Height and width of each image; height 0 if the image cannot be read."""
        return [(height, width) for height, width, _ in self.index.tolist()]

    def name(self, index: int) -> str:
        return self.source.name(index)

    def read(self, index: int) -> Tensor:
        height, width, _ = self.index[index].tolist()
        if height == 0:
            raise UserError(f"{self.name(index)} could not be read when {self.folder} was built. {AGAIN}")
        end = int(self.ends[index])
        return self.pixels[end - 3 * height * width : end].view(3, height, width)

    def files(self) -> list[Path]:
        return list(self.source.files())

    def describe(self) -> str:
        return self.source.describe()

    def verify(self) -> None:
        """Read all pixels and compare them with their checksums.

        Raises:
            UserError: a checksum differs.
        """
        readable = (index for index in range(len(self)) if self.index[index, 0])
        broken = [
            index
            for index in track(readable, "Verifying the cache", total=len(self))
            if _checksum(self.read(index)) != self.index[index, 2]
        ]
        if broken:
            raise UserError(
                f"The image cache {self.folder} is damaged: {len(broken)} images differ from their checksums, such as "
                f"{self.name(broken[0])}. {AGAIN}"
            )


def cached(source: ImageSource, root: str | Path, workers: int, on_error: OnError = "raise") -> CachedSource:
    """Open the cache of a source, and build it first if it does not exist.

    The folder's name contains the source's fingerprint, so changed files or arguments lead to a new cache. One process
    builds the cache. All other processes on the machine that need it, also those of other runs, wait.

    Args:
        source: the images.
        root: folder of all caches.
        workers: number of processes that decode.
        on_error: `skip` leaves out unreadable images; reading them from the cache raises UserError.

    Raises:
        UserError: an image cannot be read, the disk is too small, or the cache is damaged.
    """
    folder = Path(root) / f"{type(source).__name__}-{fingerprint(source, times=True)}"
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _locked(folder.with_suffix(".lock")):
                if not folder.is_dir():
                    _build(source, folder.with_suffix(".partial"), workers, on_error)
                    folder.with_suffix(".partial").rename(folder)
    except OSError as error:
        raise UserError(
            f"The image cache {folder} cannot be built: {error}. Free some space (finished images are kept), set "
            "data.cache_dir to another disk, or set data.cache=null."
        ) from error
    return CachedSource(source, folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        # The kernel releases this lock however the process ends. Unlike with flock, forked workers do not hold it.
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def _checksum(image: Tensor) -> int:
    return zlib.crc32(image.numpy().data)


class _Decoded(Dataset[tuple[Tensor, int]]):
    """The decoded images from index `first` on, with their checksums."""

    def __init__(self, source: ImageSource, first: int, on_error: OnError) -> None:
        self.source, self.first, self.on_error = source, first, on_error

    def __len__(self) -> int:
        return len(self.source) - self.first

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        try:
            image = self.source.read(self.first + number).contiguous()
        except UserError as error:
            if self.on_error == "raise":
                raise
            warnings.warn(f"data.on_error=skip: {error}", stacklevel=2)
            image = torch.empty(3, 0, 0, dtype=torch.uint8)
        return image, _checksum(image)


def _build(source: ImageSource, folder: Path, workers: int, on_error: OnError) -> None:
    """Decode in parallel and write in order.

    The index lists only images whose pixels are on the disk, so a later build can resume.
    """
    folder.mkdir(exist_ok=True)
    with (folder / PIXELS).open("ab") as pixels, (folder / INDEX).open("ab") as index:
        done = _recover(folder, pixels.tell())
        pixels.truncate(int((3 * done[:, 0] * done[:, 1]).sum()))
        index.truncate(done.nbytes)
        _check_space(source, folder, len(source) - len(done))
        loader = DataLoader(
            _Decoded(source, len(done), on_error),
            batch_size=None,
            generator=torch.Generator(),  # so that the global RNG, which initialises the weights, does not advance
            **worker_options(workers),
        )
        images = iter(loader)  # workers are forked before the progress bar starts its thread
        rows: list[tuple[int, int, int]] = []
        unsaved = 0
        for image, checksum in track(images, "Caching images", total=len(source), completed=len(done)):
            pixels.write(image.numpy().data)
            rows.append((image.shape[1], image.shape[2], checksum))
            unsaved += image.numel()
            if unsaved >= FLUSH:
                _save(pixels, index, rows)
                rows, unsaved = [], 0
        _save(pixels, index, rows)
    content = (folder / INDEX).read_bytes()
    size = (folder / PIXELS).stat().st_size
    header = {"format": FORMAT, "images": len(source), "bytes": size, "index_crc32": zlib.crc32(content)}
    (folder / HEADER).write_text(json.dumps(header), encoding="utf-8")


def _save(pixels: BinaryIO, index: BinaryIO, rows: list[tuple[int, int, int]]) -> None:
    _sync(pixels)  # the pixels must be on the disk before the index names them
    index.write(np.array(rows, np.int64).tobytes())
    _sync(index)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _recover(folder: Path, size: int) -> NDArray[np.int64]:
    """Return the complete rows of the index whose pixels lie within `size` bytes."""
    content = (folder / INDEX).read_bytes()
    rows = np.frombuffer(content[: len(content) // 24 * 24], np.int64).reshape(-1, 3)
    return rows[np.cumsum(3 * rows[:, 0] * rows[:, 1]) <= size]


def _check_space(source: ImageSource, folder: Path, remaining: int) -> None:
    """Raise UserError unless the remaining images fit on the disk, estimated from the size of some images."""
    sizes = []
    for index in np.linspace(0, len(source) - 1, min(len(source), 16)).astype(int).tolist():
        try:
            sizes.append(source.read(index).numel())
        except UserError:
            continue  # the error is reported when the image is decoded
    needed, free = int(np.mean(sizes or [0]) * remaining), shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"data.cache=memmap needs about {needed / 1e9:.1f} GB in {folder.parent.absolute()}, where "
            f"{free / 1e9:.1f} GB are free: free some space, set data.cache_dir to another disk, or set "
            "data.cache=null."
        )
