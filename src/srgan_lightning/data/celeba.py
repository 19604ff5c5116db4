"""`data=celeba` and `data=celeba_native`: CelebA in its official layout, unpacked or as a zip archive."""

import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from PIL import Image
from torch import Tensor

from srgan_lightning.data.datamodule import Split, SuperResolutionData
from srgan_lightning.imaging.reading import MAX_PIXELS, decode, read_bytes, to_tensor
from srgan_lightning.utils.errors import UserError

IMAGES, PARTITION = "img_align_celeba", "list_eval_partition.txt"
SPLITS: dict[Split, int] = {"train": 0, "val": 1, "test": 2}
MAX_MEMBER = 2**28  # largest unpacked file of an archive in bytes, as large as the largest decoded image
Fit = Literal["square", "squash", "native"]

HOW_TO_GET = (
    f"Put `{IMAGES}/` (or `{IMAGES}.zip`) and `{PARTITION}` into one folder and set data.root to it. They are the "
    "'Align&Cropped Images' and 'Train/Val/Test Partitions' of mmlab.ie.cuhk.edu.hk/projects/CelebA.html. Or try "
    "data.download=true. experiment=quickstart needs no data."
)


def find_celeba(root: str | Path) -> Path:
    """Return the folder with the images and the partition file: `root`, or torchvision's `root/celeba`.

    Raises:
        UserError: neither folder has them.
    """
    for folder in (Path(root), Path(root) / "celeba"):
        if (folder / PARTITION).is_file() and ((folder / IMAGES).is_dir() or (folder / f"{IMAGES}.zip").is_file()):
            return folder
    looked = f"{Path(root).absolute()} and its subfolder celeba"
    raise UserError(f"CelebA was not found: data.root={root} (looked in {looked}). {HOW_TO_GET}")


def read_line(line: str) -> tuple[str, int]:
    """Parse one line of the partition file; return the file name and the number of the split.

    Raises:
        ValueError: the line is not `NAME.jpg 0|1|2`, or the name leads out of the folder.
    """
    fields = line.split()
    if len(fields) != 2:
        raise ValueError("expected `NAME.jpg 0|1|2`")
    if fields[1] not in ("0", "1", "2"):
        raise ValueError(f"the split is {fields[1][:20]!r}, not 0, 1 or 2")
    if fields[0] in (".", "..") or any(sign in fields[0] for sign in "/\\:\0"):
        raise ValueError("the name is a path")
    return fields[0], int(fields[1])


def partition_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is not empty.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}. Download the file again.") from error
    yield from ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())


def read_partition(path: Path, split: Split) -> list[str]:
    """Return the file names of one split, in the order of the file.

    Raises:
        UserError: a line is invalid, a name is repeated, or the split is empty.
    """
    splits: dict[str, int] = {}
    for number, line in partition_lines(path):
        try:
            name, part = read_line(line)
            if name in splits:
                raise ValueError("the name is on an earlier line too")
        except ValueError as error:
            raise UserError(f"{path}, line {number}, {line[:80]!r}: {error}. Download the file again.") from error
        splits[name] = part
    names = [name for name, part in splits.items() if part == SPLITS[split]]
    if not names:
        raise UserError(f"{path} names no image of the {split} split ({SPLITS[split]}). Download the file again.")
    return names


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open an archive of images. Members are read into memory; nothing is unpacked to the disk.

    Raises:
        UserError: the archive is broken, or the name of a member leads out of the folder.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path} is not a complete zip archive ({error}): download it again.") from error
    for member in archive.namelist():
        if member.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", member) or ":" in member:
            archive.close()
            raise UserError(f"{path} holds {member!r}, which leads out of its folder: it is not CelebA's archive.")
    return archive


def read_member(archive: zipfile.ZipFile, member: str) -> bytes:
    """Read one file of an archive.

    Raises:
        UserError: the file is missing, damaged, or declared larger than any photo.
    """
    name = f"{archive.filename}:{member}"
    try:
        size = archive.getinfo(member).file_size  # zipfile never unpacks more than this
        if size > MAX_MEMBER:
            raise UserError(f"{name} unpacks to {size:,} bytes, more than any photo: it may be a decompression bomb.")
        return archive.read(member)
    except UserError:
        raise
    except Exception as error:  # errors of zip, zlib, lzma, struct or encryption all mean the same to the user
        raise UserError(f"{name} cannot be read: {error}. Download the archive again.") from error


class CelebA:
    """One split of CelebA, whose 178x218 photos are cropped or resized to one size.

    Args:
        root: see `find_celeba`.
        split: official partition.
        size: (height, width) that `read` returns.
        fit: `square` crops the centre square and resizes it; `squash` resizes the whole photo, which distorts it;
            `native` crops the centre without resizing.
    """

    def __init__(self, root: str | Path, split: Split, size: tuple[int, int], fit: Fit) -> None:
        self.folder = find_celeba(root)
        self.names = read_partition(self.folder / PARTITION, split)
        self.size, self.fit = size, fit
        self._zip: tuple[int, zipfile.ZipFile] | None = None
        if not (self.folder / IMAGES).is_dir():
            self._check_zip()

    def _check_zip(self) -> None:
        path = self.folder / f"{IMAGES}.zip"
        with open_zip(path) as archive:
            members = set(archive.namelist())
        missing = [name for name in self.names if f"{IMAGES}/{name}" not in members]
        if missing:
            raise UserError(
                f"{path} lacks {len(missing)} images of {PARTITION}, such as {missing[0]}: download it again."
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_zip": None}  # an open archive cannot be sent to a worker

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]

    def encoded(self, index: int) -> bytes:
        name, folder = self.names[index], self.folder / IMAGES
        if folder.is_dir():
            return read_bytes(folder / name)
        path = folder.with_suffix(".zip")
        # Every process opens the archive itself, because forked workers would share one file position.
        if self._zip is None or self._zip[0] != os.getpid():
            self._zip = os.getpid(), open_zip(path)
        return read_member(self._zip[1], f"{IMAGES}/{name}")

    def read(self, index: int) -> Tensor:
        name = self.names[index]
        return fit_photo(decode(self.encoded(index), str(self.folder / IMAGES / name)), self.size, self.fit, name)

    def files(self) -> list[Path]:
        folder = self.folder / IMAGES
        return [folder / name for name in self.names] if folder.is_dir() else [self.folder / f"{IMAGES}.zip"]

    def describe(self) -> str:
        return f"CelebA, {self.fit}, {self.size[1]}x{self.size[0]}"


def check_fit(size: Sequence[int] | None, fit: str) -> None:
    """Raise UserError unless `size` (None: keep the photos' sizes) and `fit` are valid for `fit_photo`."""
    if fit not in get_args(Fit):
        raise UserError(f"data.fit={fit!r} is unknown: use square, squash or native.")
    if size is None:
        return
    if len(size) != 2:
        raise UserError(f"data.size={size}: give two numbers, [height, width].")
    if not 0 < size[0] * size[1] <= MAX_PIXELS or min(size) < 1:
        raise UserError(f"data.size={list(size)}: give sides of 1 or more, and at most {MAX_PIXELS:,} pixels.")


def fit_photo(photo: Tensor, size: tuple[int, int], fit: Fit, name: str) -> Tensor:
    """Crop or resize a photo to one size; see `CelebA`.

    Args:
        photo: uint8 (3, H, W).
        size: (height, width) of the result.
        fit: `square`, `squash` or `native`.
        name: name of the photo, for error messages.

    Raises:
        UserError: a `native` photo is too small.
    """
    height, width = size
    if fit == "native":
        if photo.shape[2] < width or photo.shape[1] < height:
            raise UserError(
                f"{name} is {photo.shape[2]}x{photo.shape[1]}, smaller than data.size {width}x{height}: "
                "celeba_native never upsamples, so set a smaller data.size."
            )
        return _cut_centre(photo, height, width)
    if fit == "square":
        side = min(photo.shape[1:])
        photo = _cut_centre(photo, side, side)
    image = Image.fromarray(photo.permute(1, 2, 0).contiguous().numpy())
    return to_tensor(image.resize((width, height), Image.Resampling.BICUBIC))


def _cut_centre(photo: Tensor, height: int, width: int) -> Tensor:
    top, left = (photo.shape[1] - height) // 2, (photo.shape[2] - width) // 2
    return photo[:, top : top + height, left : left + width].contiguous()


class CelebAData(SuperResolutionData):
    """CelebA with its official split.

    Args:
        root: folder with `img_align_celeba/` or `img_align_celeba.zip`, and `list_eval_partition.txt`.
        size: (height, width) of HR.
        fit: see `CelebA`.
        download: download the set to `root/celeba` with torchvision if it is missing.
        **loader: see `SuperResolutionData`.
    """

    def __init__(self, root: str, size: tuple[int, int], fit: Fit, download: bool = False, **loader: Any) -> None:
        super().__init__(**loader)
        check_fit(size, fit)
        self.root, self.size, self.fit, self.download = root, (size[0], size[1]), fit, download
        self.check_common_size(*self.size, "data.size")

    def prepare_data(self) -> None:
        if self.download:
            try:
                find_celeba(self.root)
            except UserError:
                download_celeba(self.root)
        super().prepare_data()

    def source(self, split: Split) -> CelebA:
        return CelebA(self.root, split, self.size, self.fit)


def download_celeba(root: str | Path) -> None:
    """Download CelebA to `root/celeba` with torchvision.

    Raises:
        UserError: the download failed, often because its Google Drive quota is used up.
    """
    from torchvision import datasets

    try:
        datasets.CelebA(str(root), split="all", target_type="identity", download=True)
    except Exception as error:  # gdown, urllib, zip and quota errors all mean the same to the user
        raise UserError(
            f"The download of CelebA failed ({error}). Its download quota is often used up. {HOW_TO_GET}"
        ) from error
