"""Log the same validation images to W&B at every validation, and a table of images at the end."""

from collections.abc import Sequence

import wandb
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from srgan_lightning.training.sample_row import SHOWN, SampleRow
from srgan_lightning.training.wandb_logger import RunWandbLogger

TABLE = "samples/table"
COLUMNS = ["name", "LR", "bicubic", "SR", "HR", *SHOWN]


def log_samples(logger: RunWandbLogger, rows: Sequence[SampleRow], step: int, first: bool) -> None:
    """Log SR; at the first validation after each start also LR, bicubic and HR, which do not change.

    Args:
        logger: the run's logger.
        rows: one per image, of the same images in every call.
        step: number of generator updates.
        first: whether this is the first validation since the run was started or resumed.
    """
    panels = {"samples/SR": [wandb_image(row.sr, row.caption) for row in rows]}
    if first:
        panels["samples/LR"] = [wandb_image(row.lr, row.name) for row in rows]
        panels["samples/bicubic"] = [wandb_image(row.bicubic, row.name) for row in rows]
        panels["samples/HR"] = [wandb_image(row.hr, row.name) for row in rows]
    logger.log_metrics(panels, step)


def log_table(logger: RunWandbLogger, rows: Sequence[SampleRow], step: int) -> None:
    """Log one table with a row of pictures and scores per image, in the given order.

    A failure, such as a full disk, is only reported, because the results of the run must still be written.
    """
    with logger.best_effort("table of images"):
        data = [
            [
                row.name,
                *(wandb_image(picture) for picture in (row.lr, row.bicubic, row.sr, row.hr)),
                *row.scores.values(),
            ]
            for row in rows
        ]
        logger.log_table(TABLE, columns=COLUMNS, data=data, step=step)


def wandb_image(picture: Tensor, caption: str | None = None) -> wandb.Image:
    """Convert a picture (3, H, W) in [0, 1] to a W&B image, rounded to 8 bits."""
    return wandb.Image(to_pil_image((picture * 255).round().byte()), caption=caption)
