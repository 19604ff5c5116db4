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
        # Of several processes the last ones may get repeated images to fill their share, which are another's by index.
        own = batch["index"] % trainer.world_size == trainer.global_rank
        lr, sr, hr = (images[own] for images in (batch["lr"], outputs, batch["hr"]))
        if len(hr):
            bicubic = resize_bicubic(lr, (hr.shape[-2], hr.shape[-1]))
            for name, pictures in (("swd", sr), ("bicubic_swd", bicubic)):
                self.metrics[name].update(pictures, hr)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, metric in self.metrics.items():
            pl_module.log(f"val/{name}", metric.compute())
