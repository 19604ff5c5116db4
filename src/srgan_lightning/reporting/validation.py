"""The validation images of a run, as its training saw them."""

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from srgan_lightning.data.degradation import resize_bicubic
from srgan_lightning.errors import UserError
from srgan_lightning.reporting.runs import Run


class Image(NamedTuple):
    """lr (1, 3, H / scale, W / scale) and hr (1, 3, H, W), RGB in [0, 1]."""

    name: str
    lr: Tensor
    hr: Tensor


def validation_images(run: Run, limit: int) -> list[Image]:
    """The first images of a run's validation set, LR made as for its scores.

    Args:
        run: its `.hydra/config.yaml` says which data.
        limit: most images.

    Raises:
        UserError: the data are not where they were, or are no data of this package.
    """
    config = run.config
    for group in ("data", "degradation"):
        for target in _targets(config[group]):  # a run directory may be a stranger's: it names no code to run
            if not target.startswith("srgan_lightning.data."):
                raise UserError(f"{run.path}: its {group} is {target}, which is none of this package's.")
    data = instantiate(config.data, degradation=instantiate(config.degradation), val_batch_size=1, num_workers=0)
    data.setup("validate")
    images: list[Image] = []
    for batch in itertools.islice(data.val_dataloader(), limit):
        batch = data.on_after_batch_transfer(batch, 0)
        images.append(Image(data.sources["val"].name(int(batch["index"][0])), batch["lr"], batch["hr"]))
    return images


def _targets(config: DictConfig) -> list[str]:
    text = OmegaConf.to_yaml(config)
    return [line.split(":", 1)[1].strip() for line in text.splitlines() if line.strip().startswith("_target_:")]


class Crop(NamedTuple):
    """A square of an image: its top left corner and side, in pixels of HR."""

    image: Image
    top: int
    left: int
    side: int

    def of(self, picture: Tensor) -> Tensor:
        """(3, side, side) of a picture of the image's size, (1, 3, H, W)."""
        return picture[0, :, self.top : self.top + self.side, self.left : self.left + self.side].clamp(0, 1)


def telling_crop(images: list[Image], side: int = 64) -> Crop:
    """The square in which bicubic loses most, where runs have the most to show."""
    found: list[tuple[float, Crop]] = []
    for image in images:
        height, width = image.hr.shape[-2:]
        side = min(side, height, width)
        bicubic = resize_bicubic(image.lr, (height, width))
        lost = F.avg_pool2d((image.hr - bicubic).abs().mean(dim=1), side, stride=max(side // 8, 1))[0]
        best = int(torch.argmax(lost))
        top, left = (index * max(side // 8, 1) for index in divmod(best, lost.shape[1]))
        found.append((lost.flatten()[best].item(), Crop(image, top, left, side)))
    return max(found, key=lambda pair: pair[0])[1]
