"""`data=synthetic`: procedurally drawn faces, so that everything runs without a download."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srgan_lightning import __version__
from srgan_lightning.data.datamodule import Split, SuperResolutionData
from srgan_lightning.data.synthetic.faces import SyntheticFaces
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.memory import gigabytes, memory_of


class LazyFaces(SyntheticFaces):
    """Synthetic faces, each drawn when read."""

    def files(self) -> list[Path]:
        return []

    def describe(self) -> str:
        return f"faces of {self.size[0]} pixels, seed {self.seed}, drawn by version {__version__}"


class DrawnFaces(LazyFaces):
    """Synthetic faces, drawn once and held in memory.

    Args:
        count: number of faces.
        size: side in pixels.
        seed: seed of the drawing; another seed draws other people.
    """

    def __init__(self, count: int, size: int, seed: int) -> None:
        super().__init__(count, size, seed)
        self.images = torch.stack([super(DrawnFaces, self).read(index) for index in range(count)])

    def read(self, index: int) -> Tensor:
        return self.images[index]


class SyntheticData(SuperResolutionData):
    """Faces that differ between the splits and are the same in every run and on every machine.

    Args:
        train_images: number of training faces.
        val_images: number of validation faces. The test uses the same number of other faces.
        size: side of HR in pixels.
        **loader: see `SuperResolutionData`.
    """

    def __init__(self, train_images: int, val_images: int, size: int, **loader: Any) -> None:
        super().__init__(**loader)
        self.counts: dict[Split, int] = {"train": train_images, "val": val_images, "test": val_images}
        self.size = size
        self.check_common_size(size, size, "data.size")
        needed = 3 * size**2 * max(self.counts.values())
        if min(self.counts.values()) < 1 or needed > memory_of(torch.device("cpu")):
            raise UserError(
                f"data.train_images={train_images}, data.val_images={val_images}, data.size={size}: give at least 1 "
                f"face of each, and no more than fit into memory (these take {gigabytes(needed)})."
            )

    def source(self, split: Split) -> LazyFaces:
        kind = DrawnFaces if self.cache is None else LazyFaces  # drawn once (20 ms each), in memory or in the cache
        return kind(self.counts[split], self.size, seed=list(self.counts).index(split))
