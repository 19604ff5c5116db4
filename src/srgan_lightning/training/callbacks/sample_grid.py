"""Sample pictures: LR (bicubic up) | SR | HR."""

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop
from torchvision.utils import make_grid, save_image

from srgan_lightning.data.degradation import resize_bicubic


class SampleGrid(Callback):
    """Draws the first validation images of process 0, always the same, at every validation.

    One row per image: LR bicubically enlarged, SR, HR. It goes to `directory/step_*.png` and to the logger.

    Args:
        directory: where the PNGs land.
        images: rows.
        size: larger images are cut to their centre of that many pixels.
    """

    def __init__(self, directory: str, images: int = 8, size: int = 256) -> None:
        self.directory, self.images, self.size = Path(directory), images, size
        self.rows: list[Tensor] = []

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
        for lr, sr, hr in zip(batch["lr"], outputs, batch["hr"], strict=True):
            if len(self.rows) == self.images:
                return
            up = resize_bicubic(lr[None], (hr.shape[-2], hr.shape[-1]))[0]
            row = torch.stack([up, sr, hr]).clamp(0, 1).cpu()
            self.rows.append(center_crop(row, [min(self.size, hr.shape[-2]), min(self.size, hr.shape[-1])]))

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.rows:
            return
        # Images of different sizes share a grid on a canvas of the largest.
        height, width = (max(row.shape[side] for row in self.rows) for side in (-2, -1))
        grid = make_grid(torch.cat([center_crop(row, [height, width]) for row in self.rows]), nrow=3, padding=4)
        self.directory.mkdir(parents=True, exist_ok=True)
        save_image(grid, self.directory / f"step_{trainer.global_step:07d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("samples", grid, trainer.global_step)
            elif isinstance(logger, WandbLogger):
                logger.log_image("samples", [grid], step=trainer.global_step, caption=["LR bicubic | SR | HR"])
