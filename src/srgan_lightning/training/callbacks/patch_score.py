"""Perception beside distortion at every validation."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from srgan_lightning.data.degradation import resize_bicubic
from srgan_lightning.patch_statistics import PatchDistance


class PatchScore(Callback):
    """Logs `PatchDistance` as `val/swd` and `val/bicubic_swd`: low where SR has detail of HR's kind."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        scale = pl_module.generator.scale  # type: ignore[union-attr]
        self.metrics = {name: PatchDistance(scale) for name in ("swd", "bicubic_swd")}  # type: ignore[arg-type]

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seen: set[int] = set()
        for metric in self.metrics.values():
            metric.reset()
            metric.to(pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        # An image counts once, on the process whose share its index is in: others may get it to fill their share up,
        # and any may get it again in the place of one that cannot be read.
        rows: list[int] = []
        for row, index in enumerate(batch["index"].tolist()):
            if index % trainer.world_size == trainer.global_rank and index not in self.seen:
                self.seen.add(index)
                rows.append(row)
        if rows:
            lr, sr, hr = (images[rows] for images in (batch["lr"], outputs, batch["hr"]))
            bicubic = resize_bicubic(lr, (hr.shape[-2], hr.shape[-1]))
            for name, pictures in (("swd", sr), ("bicubic_swd", bicubic)):
                self.metrics[name].update(pictures, hr)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, metric in self.metrics.items():
            pl_module.log(f"val/{name}", metric.compute())
