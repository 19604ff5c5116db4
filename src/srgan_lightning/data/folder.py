"""`data=folder`: any folders of photos; `data=pairs`: matching folders of LR and HR."""

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from srgan_lightning.data.datamodule import Split, SuperResolutionData
from srgan_lightning.data.images import find_images, image_sizes, open_image, to_tensor
from srgan_lightning.errors import UserError


class ImageFolder:
    """The images below a folder, recursively, in the order of their paths.

    Args:
        folder: where they are.
        setting: the option that named it, for errors.
    """

    def __init__(self, folder: str | Path, setting: str) -> None:
        self.root, self.paths = Path(folder), find_images(folder, setting)

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return str(self.paths[index].relative_to(self.root))

    def read(self, index: int) -> Tensor:
        return to_tensor(open_image(self.paths[index], str(self.paths[index])))

    def files(self) -> list[Path]:
        return self.paths

    def describe(self) -> str:
        return type(self).__name__


def _required(value: str | None, setting: str) -> str:
    if value is None:
        raise UserError(f"{setting} is not set: give the folder, {setting}=PATH. experiment=quickstart needs none.")
    return value


class FolderData(SuperResolutionData):
    """Photos of any sizes: random crops for training, whole images for validation and test.

    Args:
        train_dir: HR photos for training, searched recursively.
        val_dir: HR photos for validation.
        test_dir: HR photos for the final test; None takes `val_dir`.
        **loader: see `SuperResolutionData`.
    """

    def __init__(self, train_dir: str | None, val_dir: str | None, test_dir: str | None = None, **loader: Any) -> None:
        super().__init__(**loader)
        self.dirs: dict[Split, str | None] = {"train": train_dir, "val": val_dir, "test": test_dir or val_dir}

    def source(self, split: Split) -> ImageFolder:
        setting = f"data.{split}_dir"
        images = ImageFolder(_required(self.dirs[split], setting), setting)
        sizes = image_sizes(images.paths)
        if split != "train":
            # 11 pixels for the window of SSIM, besides the border that is cut off.
            needed = max(self.degradation.min_lr_side * self.scale, 11 + 2 * self.scale)
            _check_large_enough(images.paths, sizes, needed, "be degraded and scored")
        elif self.crop is not None:
            _check_large_enough(images.paths, sizes, self.crop, f"cut data.crop={self.crop} from")
        elif len(set(sizes)) > 1:
            raise UserError(
                f"{setting}: the photos differ in size, so batches need equal crops: set data.crop, say 96."
            )
        else:
            self.check_hr_size(*sizes[0], setting)
        return images


def _check_large_enough(paths: list[Path], sizes: list[tuple[int, int]], side: int, purpose: str) -> None:
    small = [(path, size) for path, size in zip(paths, sizes, strict=True) if min(size) < side]
    if small:
        path, (height, width) = small[0]
        raise UserError(
            f"{path} is {width}x{height} pixels, too small to {purpose} ({side} pixels a side are needed; {len(small)} "
            f"of {len(paths)} files are too small). Remove them, or lower data.crop."
        )


def pair_key(path: Path, scale: int) -> str:
    """The part of a stem that LR and HR share: `baby`, `baby_LR`, `babyx4`, `baby_LRBI_x4` and `baby_HR` are one."""
    stem, previous = path.stem, ""
    while stem != previous:
        previous, stem = stem, re.sub(rf"[_-]?(x{scale}|LRBI|LR|HR)$", "", stem) or stem
    return stem


class PairedFolders(ImageFolder):
    """HR images with their own LR files, matched by stem; LR is exactly `scale` times smaller.

    Args:
        hr_dir: HR images.
        lr_dir: LR images.
        scale: how many times smaller LR is.
        setting: the option that named `hr_dir`; errors about LR call theirs `lr`.

    Raises:
        UserError: a file has no partner, or sizes do not fit.
    """

    def __init__(self, hr_dir: str, lr_dir: str, scale: int, setting: str) -> None:
        super().__init__(hr_dir, setting)
        lr_paths = find_images(lr_dir, setting.replace("hr", "lr"))
        keys = {pair_key(path, scale): path for path in lr_paths}
        lonely = [path for path in self.paths if pair_key(path, scale) not in keys]
        if lonely or len(keys) != len(self.paths):
            extra = sorted(set(keys) - {pair_key(path, scale) for path in self.paths})
            example = f"{lonely[0]} has no LR of its name" if lonely else f"LR {extra[:1] or lr_paths[:1]} has no HR"
            raise UserError(
                f"{setting}={hr_dir} ({len(self.paths)} HR) and {lr_dir} ({len(lr_paths)} LR) do not match: {example}. "
                "Each LR needs an HR of the same stem, and the other way round."
            )
        self.lr_paths = [keys[pair_key(path, scale)] for path in self.paths]
        sizes = zip(image_sizes(self.paths), image_sizes(self.lr_paths), self.paths, self.lr_paths, strict=True)
        for hr_size, lr_size, hr_path, lr_path in sizes:
            # HR may have a rest of less than `scale` pixels, which is cut off.
            if any(hr // scale != lr for hr, lr in zip(hr_size, lr_size, strict=True)):
                raise UserError(
                    f"{lr_path} is {lr_size[1]}x{lr_size[0]} but {hr_path} is {hr_size[1]}x{hr_size[0]}: with "
                    f"scale={scale} LR must be {hr_size[1] // scale}x{hr_size[0] // scale}. Mend the pair or set scale."
                )

    def read_lr(self, index: int) -> Tensor:
        """The LR image, uint8 RGB (3, H / scale, W / scale)."""
        return to_tensor(open_image(self.lr_paths[index], str(self.lr_paths[index])))

    def files(self) -> list[Path]:
        return self.paths + self.lr_paths


class PairedData(SuperResolutionData):
    """LR and HR as they are on disk; the degradation is not used.

    Args:
        train_hr_dir: HR images for training, searched recursively.
        train_lr_dir: their LR images, matched by stem.
        val_hr_dir: HR images for validation.
        val_lr_dir: their LR images.
        **loader: see `SuperResolutionData`.
    """

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
                "data.random_scale does not go with data=pairs: LR made by others cannot be shrunk in step."
            )
        val = (val_hr_dir, val_lr_dir)
        self.dirs = {"train": (train_hr_dir, train_lr_dir), "val": val, "test": val}

    def source(self, split: Split) -> PairedFolders:
        hr_dir, lr_dir = self.dirs[split]
        name = "train" if split == "train" else "val"
        setting = f"data.{name}_hr_dir"
        hr_dir, lr_dir = _required(hr_dir, setting), _required(lr_dir, f"data.{name}_lr_dir")
        pairs = PairedFolders(hr_dir, lr_dir, self.scale, setting)
        if split == "train":
            sizes = image_sizes(pairs.paths)
            if self.crop is not None:
                _check_large_enough(pairs.paths, sizes, self.crop, f"cut data.crop={self.crop} from")
            elif len(set(sizes)) > 1:
                raise UserError(f"{setting}: the images differ in size, so batches need equal crops: set data.crop.")
        return pairs
