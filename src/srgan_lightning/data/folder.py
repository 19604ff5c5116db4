"""`data=folder`: folders of photos; `data=pairs`: matching folders of LR and HR images."""

import re
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from srgan_lightning.data.datamodule import Split, SuperResolutionData
from srgan_lightning.data.datasets import OnError
from srgan_lightning.imaging.reading import Size, decode, find_images, image_size, no_such_folder, read_bytes
from srgan_lightning.utils.errors import UserError


class ImageFolder:
    """The images below a folder, recursively, in the order of their paths.

    Args:
        folder: the folder.
        setting: the option that named the folder, for error messages.
    """

    def __init__(self, folder: str | Path, setting: str) -> None:
        self.root, self.paths = Path(folder), find_images(folder, setting)
        self.sizes: list[Size] = []  # one per image; empty until `readable_sizes` has read the headers

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return str(self.paths[index].relative_to(self.root))

    def encoded(self, index: int) -> bytes:
        return read_bytes(self.paths[index])

    def read(self, index: int) -> Tensor:
        return decode(self.encoded(index), str(self.paths[index]))

    def keep(self, wanted: list[bool]) -> None:
        """Keep the images whose entry in `wanted` is true."""
        self.paths = list(compress(self.paths, wanted))
        self.sizes = list(compress(self.sizes, wanted))

    def files(self) -> list[Path]:
        return self.paths

    def describe(self) -> str:
        return type(self).__name__


#: Advice at the end of an error. It gives a whole command: adding experiment=quickstart to the failed command would not
#: help if that command sets data=folder, which would still apply.
WITHOUT = " Without photos, `python -m srgan_lightning.train experiment=quickstart` trains on faces that it draws."


def _required(value: str | None, setting: str) -> str:
    if value is None:
        raise UserError(f"{setting} is not set: give a folder, {setting}=PATH.{WITHOUT}")
    if not Path(value).is_dir():
        raise no_such_folder(value, setting, WITHOUT)
    return value


class FolderData(SuperResolutionData):
    """Photos of any sizes: random crops for training, whole images for validation and test.

    Args:
        train_dir: HR photos for training, searched recursively.
        val_dir: HR photos for validation.
        test_dir: HR photos for the final test; None uses `val_dir`.
        **loader: see `SuperResolutionData`.
    """

    def __init__(self, train_dir: str | None, val_dir: str | None, test_dir: str | None = None, **loader: Any) -> None:
        super().__init__(**loader)
        self.dirs: dict[Split, str | None] = {"train": train_dir, "val": val_dir, "test": test_dir or val_dir}

    def source(self, split: Split) -> ImageFolder:
        setting = f"data.{split}_dir"
        images = ImageFolder(_required(self.dirs[split], setting), setting)
        images.sizes = readable_sizes(images, images.paths, self.on_error)
        check_sizes(self, images, images.sizes, split, setting)
        return images


def readable_sizes(images: ImageFolder, paths: Sequence[Path], on_error: OnError) -> list[Size]:
    """Read the sizes of image files from their headers.

    Args:
        images: the images; `skip` removes those with an unreadable header.
        paths: one file per image.
        on_error: `raise` or `skip`.

    Raises:
        UserError: a header cannot be read; with `skip`, only if no header can.
    """
    sizes: list[Size | None] = []
    reason = ""
    for path in paths:
        try:
            sizes.append(image_size(path))
        except UserError as error:
            if on_error == "raise":
                raise
            sizes.append(None)
            reason = str(error)
    _leave_out(images, [size is not None for size in sizes], reason)
    return [size for size in sizes if size is not None]


def check_sizes(data: SuperResolutionData, images: ImageFolder, sizes: list[Size], split: Split, setting: str) -> None:
    """Check that every image is large enough and, for training without crops, that all have one size.

    Args:
        data: the data module, with crop, smallest sides and `on_error`; `skip` leaves small images out.
        images: the images of one split.
        sizes: (height, width) of each image.
        split: the split.
        setting: the option that named the folder.

    Raises:
        UserError: an image is too small (with `skip`, only if all are); or, without crops, the sizes differ or are
            refused by `check_hr_size`.
    """
    if split != "train":
        side, purpose, advice = data.min_side(split), "be degraded or scored", "Remove them"
    elif data.crop is not None:
        side, purpose, advice = data.crop, f"cut data.crop={data.crop} from", "Remove them, or lower data.crop"
    elif len(set(sizes)) > 1:
        raise UserError(
            f"{setting}: the images differ in size, so batches need equal crops: set data.crop, such as data.crop=96."
        )
    else:
        data.check_hr_size(*sizes[0], setting)
        return
    small = [(path, size) for path, size in zip(images.paths, sizes, strict=True) if min(size) < side]
    if not small:
        return
    path, (height, width) = small[0]
    reason = (
        f"{path} is {width}x{height} pixels, too small to {purpose} ({side} pixels per side are needed; {len(small)} "
        f"of {len(images)} files are too small). {advice}."
    )
    if data.on_error == "raise":
        raise UserError(reason)
    _leave_out(images, [min(size) >= side for size in sizes], reason)


def _leave_out(images: ImageFolder, wanted: list[bool], reason: str) -> None:
    if not all(wanted):
        if not any(wanted):
            raise UserError(f"No image in {images.root} can be used. {reason}")
        rank_zero_warn(f"data.on_error=skip: {wanted.count(False)} of {len(wanted)} images left out. {reason}")
        images.keep(wanted)


def pair_key(path: Path, scale: int) -> str:
    """Return the stem without LR and HR suffixes: `baby` for `baby_LR`, `babyx4`, `baby_LRBI_x4`, `baby_HR`."""
    stem, previous = path.stem, ""
    while stem != previous:
        previous, stem = stem, re.sub(rf"[_-]?(x{scale}|LRBI|LR|HR)$", "", stem) or stem
    return stem


def _by_key(paths: Sequence[Path], scale: int) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        key = pair_key(path, scale)
        if key in found:
            raise UserError(
                f"{found[key]} and {path} share the stem {key!r}, by which LR and HR are matched: rename or remove "
                "one of them."
            )
        found[key] = path
    return found


class PairedFolders(ImageFolder):
    """HR images with their own LR files, matched by stem; LR's size is HR's divided by `scale`, rounded down.

    Args:
        hr_dir: HR images.
        lr_dir: LR images.
        scale: factor by which LR is smaller.
        setting: the option that named `hr_dir`; errors about LR replace `hr` in it by `lr`.
        on_error: `skip` leaves out pairs with an unreadable header.

    Raises:
        UserError: a file has no partner, two files of a folder share a stem, or the sizes of a pair do not fit.
    """

    def __init__(self, hr_dir: str, lr_dir: str, scale: int, setting: str, on_error: OnError = "raise") -> None:
        super().__init__(hr_dir, setting)
        lr = _by_key(find_images(lr_dir, setting.replace("hr", "lr")), scale)
        hr = _by_key(self.paths, scale)
        if hr.keys() != lr.keys():
            lonely = sorted(hr.keys() - lr.keys())
            example = f"{hr[lonely[0]]} has no LR" if lonely else f"{lr[min(lr.keys() - hr.keys())]} has no HR"
            raise UserError(
                f"{setting}={hr_dir} ({len(hr)} HR) and {lr_dir} ({len(lr)} LR) do not match: {example} of its name. "
                "Each LR image needs an HR image with the same stem, and vice versa."
            )
        self.lr_paths = [lr[pair_key(path, scale)] for path in self.paths]
        self.sizes = readable_sizes(self, self.paths, on_error)
        lr_sizes = readable_sizes(self, self.lr_paths, on_error)
        pairs = zip(self.sizes, lr_sizes, self.paths, self.lr_paths, strict=True)
        for hr_size, lr_size, hr_path, lr_path in pairs:
            # HR may have a remainder of fewer than `scale` pixels, which is cropped.
            if any(hr // scale != lr for hr, lr in zip(hr_size, lr_size, strict=True)):
                raise UserError(
                    f"{lr_path} is {lr_size[1]}x{lr_size[0]}, but {hr_path} is {hr_size[1]}x{hr_size[0]}: with "
                    f"scale={scale} LR must be {hr_size[1] // scale}x{hr_size[0] // scale}. Fix the pair or set scale."
                )

    def read_lr(self, index: int) -> Tensor:
        """Return the LR image as uint8 RGB (3, H / scale, W / scale)."""
        return decode(read_bytes(self.lr_paths[index]), str(self.lr_paths[index]))

    def keep(self, wanted: list[bool]) -> None:
        super().keep(wanted)
        self.lr_paths = list(compress(self.lr_paths, wanted))

    def files(self) -> list[Path]:
        return self.paths + self.lr_paths


class PairedData(SuperResolutionData):
    """Pairs of LR and HR images from the disk. Of the degradation, only the scale is used.

    Args:
        train_hr_dir: HR images for training, searched recursively.
        train_lr_dir: their LR images, matched by stem.
        val_hr_dir: HR images for validation.
        val_lr_dir: their LR images.
        **loader: see `SuperResolutionData`.
    """

    min_lr_side = 1  # no degradation runs, so its blur needs no border

    cacheable = False

    def __init__(
        self,
        train_hr_dir: str | None,
        train_lr_dir: str | None,
        val_hr_dir: str | None,
        val_lr_dir: str | None,
        **loader: Any,
    ) -> None:
        super().__init__(**loader)
        if self.augmentation["random_scale"] != 1:
            raise UserError(
                "data.random_scale does not work with data=pairs: it shrinks only HR, so the LR files would no longer "
                "match. Set data.random_scale=1."
            )
        if self.cache is not None:
            raise UserError("data.cache does not work with data=pairs: it stores only HR. Set data.cache=null.")
        val = (val_hr_dir, val_lr_dir)
        self.dirs: dict[Split, tuple[str | None, str | None]]
        self.dirs = {"train": (train_hr_dir, train_lr_dir), "val": val, "test": val}

    def source(self, split: Split) -> PairedFolders:
        hr_dir, lr_dir = self.dirs[split]
        name = "train" if split == "train" else "val"
        setting = f"data.{name}_hr_dir"
        hr_dir, lr_dir = _required(hr_dir, setting), _required(lr_dir, f"data.{name}_lr_dir")
        pairs = PairedFolders(hr_dir, lr_dir, self.scale, setting, self.on_error)
        check_sizes(self, pairs, pairs.sizes, split, setting)
        return pairs
