"""Sample pictures: LR (bicubic up) | SR | HR."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop, to_pil_image
from torchvision.utils import save_image

from srgan_lightning.data.degradation import resize_bicubic
from srgan_lightning.metrics import NAMES
from srgan_lightning.picture_grid import draw_grid

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
    """Draws the first validation images of process 0, always the same, at every validation.

    One row per image: LR bicubically enlarged, SR, HR. All go to `directory/step_*.png`; loggers get each row by
    itself, with the image's name and PSNR.

    Args:
        directory: where the PNGs land.
        images: rows.
        size: larger images are cut to their centre of that many pixels.
    """

    def __init__(self, directory: str, images: int = 8, size: int = 256) -> None:
        self.directory, self.images, self.size = Path(directory), images, size
        self.rows: list[Row] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rows = []

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
        if len(self.rows) == self.images:
            return
        # What the validation has just computed, of whole images, though a picture may be an image's centre alone.
        scores = pl_module.scores.rows[-1][:, [0, len(NAMES)]].tolist()  # type: ignore[union-attr, index]
        columns = (batch["lr"], outputs, batch["hr"], batch["index"].tolist(), scores)
        for lr, sr, hr, index, (psnr, bicubic) in zip(*columns, strict=True):
            if len(self.rows) == self.images:
                return
            up = resize_bicubic(lr[None], (hr.shape[-2], hr.shape[-1]))[0]
            size = [min(self.size, side) for side in hr.shape[-2:]]
            pictures = torch.stack([center_crop(picture, size) for picture in (up, sr, hr)])
            self.rows.append(Row(pictures.clamp(0, 1).cpu(), source.name(index), psnr, bicubic))

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.rows or trainer.sanity_checking:
            return
        grid = draw_grid([list(row.pictures) for row in self.rows], TITLES)
        self.directory.mkdir(parents=True, exist_ok=True)
        save_image(grid, self.directory / f"step_{trainer.global_step:07d}.png")
        for logger in trainer.loggers:
            self._log(logger, trainer.global_step)

    def _log(self, logger: Any, step: int) -> None:
        strips = [draw_grid([list(row.pictures)], TITLES) for row in self.rows]
        if isinstance(logger, WandbLogger):
            images = [to_pil_image((strip * 255).round().byte()) for strip in strips]
            logger.log_image("samples", images, step=step, caption=[row.caption for row in self.rows])
        elif isinstance(logger, TensorBoardLogger):  # which has no captions: names are tags, PSNR stands in a text
            for row, strip in zip(self.rows, strips, strict=True):
                logger.experiment.add_image(f"samples/{row.name}", strip, step)
            captions = "\n".join(f"- {row.caption}" for row in self.rows)
            logger.experiment.add_text("samples", f"LR bicubic, SR, HR:\n\n{captions}", step)
