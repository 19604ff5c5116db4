"""Load the validation images of a run, and choose the crop that a report shows."""

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

#: A run directory may be untrusted, so only these classes are built for it. Each class is listed, because allowing a
#: whole module would also allow everything that the module imports.
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
    """A validation image: its name, lr (1, 3, H / scale, W / scale) and hr (1, 3, H, W), RGB in [0, 1]."""

    name: str
    lr: Tensor
    hr: Tensor


def validation_images(run: Run, limit: int) -> list[Image]:
    """Load the first images of a run's validation set, with the same LR from which its scores were computed.

    Args:
        run: the run; its `.hydra/config.yaml` describes the data.
        limit: maximum number of images.

    Raises:
        UserError: the data have moved, or are of a class outside this package.
    """
    try:
        # Only few images are read, so no cache is built.
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
    except Exception as error:  # the options are untrusted, and may raise any exception
        text = user_error(error) or f"{type(error).__name__}: {error}"
        raise UserError(f"{printable(run.path)}: its validation images are not available: {printable(text)}") from error


def _make(run: Run, group: str, **arguments: Any) -> Any:
    """Build the object of a group of a run's configuration; raise UserError if its class is not allowed."""
    options = run.option(group, dict)
    target, nested = options.get("_target_"), _targets(list(options.values()))
    if target not in ALLOWED[group] or nested:
        foreign = printable(nested[0] if target in ALLOWED[group] else target)
        raise UserError(f"{printable(run.path)}: its {group} is {foreign}, which is not a class of this package.")
    return instantiate(options, **arguments, _recursive_=False, _partial_=False)


def _targets(value: Any) -> list[Any]:
    """Return everything that Hydra would call in a container, at any depth."""
    if isinstance(value, dict):
        return [*([value["_target_"]] if "_target_" in value else []), *_targets(list(value.values()))]
    return [target for child in value for target in _targets(child)] if isinstance(value, list) else []


class Crop(NamedTuple):
    """A square of an image, given by its top left corner and side in HR pixels."""

    image: Image
    top: int
    left: int
    side: int

    def of(self, picture: Tensor) -> Tensor:
        """Crop a picture of the image's size, (1, 3, H, W), to (3, side, side), clamped to [0, 1]."""
        return picture[0, :, self.top : self.top + self.side, self.left : self.left + self.side].clamp(0, 1)


def largest_error_crop(images: list[Image], max_side: int = 64) -> Crop:
    """Return the square in which bicubic has the largest error, because runs differ most there.

    Args:
        images: at least one image.
        max_side: side of the square in HR pixels; in a smaller image it is the shorter side of the image.
    """
    found: list[tuple[float, Crop]] = []
    for image in images:
        height, width = image.hr.shape[-2:]
        side = min(max_side, height, width)
        bicubic = resize_bicubic(image.lr, (height, width))
        lost = F.avg_pool2d((image.hr - bicubic).abs().mean(dim=1), side, stride=max(side // 8, 1))[0]
        best = int(torch.argmax(lost))
        top, left = (index * max(side // 8, 1) for index in divmod(best, lost.shape[1]))
        found.append((lost.flatten()[best].item(), Crop(image, top, left, side)))
    return max(found, key=lambda pair: pair[0])[1]
