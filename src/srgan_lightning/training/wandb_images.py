"""The validation images in W&B: the same ones at every validation, and a table of them at the end."""

from collections.abc import Sequence

import wandb
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from srgan_lightning.training.sample_row import SHOWN, SampleRow
from srgan_lightning.training.wandb_logger import RunWandbLogger

TABLE = "samples/table"
COLUMNS = ["name", "LR", "bicubic", "SR", "HR", *SHOWN]


def log_samples(logger: RunWandbLogger, rows: Sequence[SampleRow], step: int, first: bool) -> None:
    """Log SR, and with the first validation of a run also what stays the same: LR, LR enlarged, HR.

    Args:
        logger: of the run.
        rows: always of the same images.
        step: generator updates.
        first: whether these images have not been logged yet.
    """
    panels = {"samples/SR": [wandb_image(row.sr, row.caption) for row in rows]}
    if first:
        panels["samples/LR"] = [wandb_image(row.lr, row.name) for row in rows]
        panels["samples/bicubic"] = [wandb_image(row.bicubic, row.name) for row in rows]
        panels["samples/HR"] = [wandb_image(row.hr, row.name) for row in rows]
    logger.log_metrics(panels, step)


def log_table(logger: RunWandbLogger, rows: Sequence[SampleRow], step: int) -> None:
    """Log one table: a row for each image, with its pictures and scores, in the order given.

    A failure, such as a full disk, is reported and no more: the results of the run are still to be written.
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
    """A picture (3, H, W) in [0, 1], rounded to 8 bits."""
    return wandb.Image(to_pil_image((picture * 255).round().byte()), caption=caption)
