"""The validation images of a run, as its training saw them."""

import itertools
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from torch import Tensor

from srgan_lightning.cli.errors import user_error
from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.runs.reading import Run
from srgan_lightning.runs.untrusted_files import printable
from srgan_lightning.utils.errors import UserError

#: All that a run directory may name, for it may be a stranger's. Whole names: modules also hold what they import.
ALLOWED = {
    "data": (
        "srgan_lightning.data.celeba.CelebAData",
        "srgan_lightning.data.folder.FolderData",
        "srgan_lightning.data.folder.PairedData",
        "srgan_lightning.data.streaming.StreamingData",
        "srgan_lightning.data.synthetic.SyntheticData",
    ),
    "degradation": (
        "srgan_lightning.data.degradation.Bicubic",
        "srgan_lightning.data.degradation.Blur",
        "srgan_lightning.data.first_order.FirstOrder",
        "srgan_lightning.data.second_order.SecondOrder",
    ),
}


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
    try:
        # Few images are read: no cache is built for them, wherever the run had its own.
        fixed = {"val_batch_size": 1, "num_workers": 0, "cache": None}
        data = _make(run, "data", degradation=_make(run, "degradation"), **fixed)
        data.setup("validate")
        images: list[Image] = []
        for batch in itertools.islice(data.val_dataloader(), limit):
            batch = data.on_after_batch_transfer(batch, 0)
            images.append(Image(data.sources["val"].name(int(batch["index"][0])), batch["lr"], batch["hr"]))
        return images
    except UserError:
        raise
    except Exception as error:  # whatever the options of a stranger lead to
        text = user_error(error) or f"{type(error).__name__}: {error}"
        raise UserError(f"{printable(run.path)}: its validation images are not available: {printable(text)}") from error


def _make(run: Run, group: str, **arguments: Any) -> Any:
    """The object of a group of a run's configuration; raises UserError where it would be another than those allowed."""
    options = run.option(group, dict)
    target, nested = options.get("_target_"), _targets(list(options.values()))
    if target not in ALLOWED[group] or nested:
        foreign = printable(nested[0] if target in ALLOWED[group] else target)
        raise UserError(f"{printable(run.path)}: its {group} is {foreign}, which is none of this package's.")
    return instantiate(options, **arguments, _recursive_=False, _partial_=False)


def _targets(value: Any) -> list[Any]:
    """Whatever Hydra would call in a container, however deep."""
    if isinstance(value, dict):
        return [*([value["_target_"]] if "_target_" in value else []), *_targets(list(value.values()))]
    return [target for child in value for target in _targets(child)] if isinstance(value, list) else []


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
