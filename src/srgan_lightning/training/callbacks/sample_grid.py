"""Sample pictures: LR (bicubic up) | SR | HR."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop, to_pil_image
from torchvision.utils import save_image

from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.imaging.picture_grid import draw_grid
from srgan_lightning.metrics.psnr_ssim import METRIC_NAMES

#: LR is enlarged by bicubic interpolation.
TITLES = ("LR", "SR", "HR")


class Row(NamedTuple):
    """One image: LR enlarged, SR and HR as (3, 3, H, W) RGB in [0, 1], and the PSNR-Y in dB of the first two."""

    pictures: Tensor
    name: str
    psnr: float
    bicubic: float

    @property
    def caption(self) -> str:
        return f"{self.name}: {self.psnr:.2f} dB (bicubic {self.bicubic:.2f} dB)"


class SampleGrid(Callback):
    """Draws the first validation images, always the same, at every validation, whichever process has scored them.

    One row per image: LR bicubically enlarged, SR, HR. All go to `directory/step_*.png`; loggers get each row by
    itself, with the image's name and PSNR.

    Args:
        directory: where the PNGs land.
        images: rows.
        size: larger images are cut to their centre of that many pixels.
    """

    def __init__(self, directory: str, images: int = 8, size: int = 256) -> None:
        self.directory, self.images, self.size = Path(directory), images, size
        self.rows: dict[int, Row] = {}  # by the number of the image

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rows = {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        source = trainer.datamodule.sources["val"]  # type: ignore[attr-defined]
        if min(batch["index"].tolist()) >= self.images:
            return
        # What the validation has just computed, of whole images, though a picture may be an image's centre alone.
        scores = pl_module.scores.rows[-1][:, [0, len(METRIC_NAMES)]].tolist()  # type: ignore[union-attr, index]
        columns = (batch["lr"], outputs, batch["hr"], batch["index"].tolist(), scores)
        for lr, sr, hr, index, (psnr, bicubic) in zip(*columns, strict=True):
            if index >= self.images:
                continue
            up = resize_bicubic(lr[None], (hr.shape[-2], hr.shape[-1]))[0]
            size = [min(self.size, side) for side in hr.shape[-2:]]
            pictures = torch.stack([center_crop(picture, size) for picture in (up, sr, hr)])
            self.rows[index] = Row(pictures.clamp(0, 1).cpu(), source.name(index), psnr, bicubic)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        if trainer.world_size > 1:  # each process has its share of the images
            shares: list[dict[int, Row]] = [{} for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(shares, self.rows)
            self.rows = {index: row for share in shares for index, row in share.items()}
        if self.rows and trainer.is_global_zero:
            self._draw(trainer, [self.rows[index] for index in sorted(self.rows)])

    def _draw(self, trainer: Trainer, rows: list[Row]) -> None:
        grid = draw_grid([list(row.pictures) for row in rows], TITLES)
        self.directory.mkdir(parents=True, exist_ok=True)
        save_image(grid, self.directory / f"step_{trainer.global_step:07d}.png")
        for logger in trainer.loggers:
            self._log(logger, rows, trainer.global_step)

    def _log(self, logger: Any, rows: list[Row], step: int) -> None:
        strips = [draw_grid([list(row.pictures)], TITLES) for row in rows]
        if isinstance(logger, WandbLogger):
            images = [to_pil_image((strip * 255).round().byte()) for strip in strips]
            logger.log_image("samples", images, step=step, caption=[row.caption for row in rows])
        elif isinstance(logger, TensorBoardLogger):  # which has no captions: names are tags, PSNR stands in a text
            for row, strip in zip(rows, strips, strict=True):
                logger.experiment.add_image(f"samples/{row.name}", strip, step)
            captions = "\n".join(f"- {row.caption}" for row in rows)
            logger.experiment.add_text("samples", f"LR bicubic, SR, HR:\n\n{captions}", step)
