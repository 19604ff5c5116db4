"""Log sample pictures: LR (bicubic) | SR | HR."""

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torchvision.utils import save_image

from srgan_lightning.imaging.picture_grid import draw_grid
from srgan_lightning.training.sample_row import SampleRow, make_row
from srgan_lightning.training.wandb_images import log_samples, log_table
from srgan_lightning.training.wandb_logger import RunWandbLogger

#: Titles of the columns. The LR column is upsampled by bicubic interpolation.
TITLES = ("LR", "SR", "HR")
#: Number of images with the lowest PSNR-Y, which W&B's table shows first.
WORST = 8

Rows = dict[int, SampleRow]  # by image index


class SampleGrid(Callback):
    """A callback that draws the first validation images at every validation, also with several processes.

    The grid has a row per image with LR upsampled by bicubic, SR and HR, and is written to `directory/step_*.png`.
    TensorBoard gets each row separately, with the image's name and PSNR. W&B gets SR every time, and LR,
    bicubic and HR once after each start. When training ends, W&B gets a table of the `WORST` images of the last
    validation, followed by the grid's.

    Args:
        directory: folder for the PNG files.
        images: number of rows.
        size: largest side in pixels; larger images are cropped to their centre.
    """

    def __init__(self, directory: str, images: int = 8, size: int = 256) -> None:
        self.directory, self.images, self.size = Path(directory), images, size
        self.rows: Rows = {}
        self.worst: Rows = {}
        self.first = True  # whether nothing has been logged since this start of the run

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rows, self.worst = {}, {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        indices = batch["index"].tolist()
        tabled = bool(wandb_loggers(trainer))
        if min(indices) >= self.images and not tabled:
            return
        source = trainer.datamodule.sources["val"]  # type: ignore[attr-defined]
        # The scores of this batch, which the module has just computed.
        scores = pl_module.scores.rows[-1].tolist()  # type: ignore[union-attr, index]
        for index, lr, sr, hr, row in zip(indices, batch["lr"], outputs, batch["hr"], scores, strict=True):
            bad = tabled and (len(self.worst) < WORST or row[0] < max(map(psnr, self.worst.values())))
            if index >= self.images and not bad:
                continue
            sample = make_row(source.name(index), lr, sr, hr, row, self.size)
            if index < self.images:
                self.rows[index] = sample
            if bad:
                self.worst = lowest({**self.worst, index: sample})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        if trainer.world_size > 1:  # each process has only its share of the images
            shares: list[tuple[Rows, Rows]] = [({}, {}) for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(shares, (self.rows, self.worst))
            self.rows = {index: row for rows, _ in shares for index, row in rows.items()}
            self.worst = lowest({index: row for _, worst in shares for index, row in worst.items()})
        if self.rows and trainer.is_global_zero:
            self._draw(trainer, [self.rows[index] for index in sorted(self.rows)])

    def _draw(self, trainer: Trainer, rows: list[SampleRow]) -> None:
        grid = strips(rows)
        self.directory.mkdir(parents=True, exist_ok=True)
        save_image(grid, self.directory / f"step_{trainer.global_step:07d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                log_tensorboard(logger, rows, trainer.global_step)
        for logger in wandb_loggers(trainer):
            log_samples(logger, rows, trainer.global_step, self.first)
        self.first = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rows = list((self.worst | self.rows).values())  # images in both are listed among the worst
        if rows and trainer.is_global_zero:
            for logger in wandb_loggers(trainer):
                log_table(logger, rows, trainer.global_step)


def strips(rows: list[SampleRow]) -> Tensor:
    """Draw rows of bicubic, SR and HR below each other, with titles; return (3, H, W) in [0, 1]."""
    return draw_grid([[row.bicubic, row.sr, row.hr] for row in rows], TITLES)


def psnr(row: SampleRow) -> float:
    return row.scores["psnr_y"]


def lowest(rows: Rows) -> Rows:
    """Return the `WORST` rows with the lowest PSNR-Y, the worst first."""
    return dict(sorted(rows.items(), key=lambda item: psnr(item[1]))[:WORST])


def wandb_loggers(trainer: Trainer) -> list[RunWandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, RunWandbLogger)]


def log_tensorboard(logger: TensorBoardLogger, rows: list[SampleRow], step: int) -> None:
    """Log a strip per image. TensorBoard has no captions, so names are tags, and PSNR is logged as text."""
    for row in rows:
        logger.experiment.add_image(f"samples/{row.name}", strips([row]), step)
    captions = "\n".join(f"- {row.caption}" for row in rows)
    logger.experiment.add_text("samples", f"LR bicubic, SR, HR:\n\n{captions}", step)
