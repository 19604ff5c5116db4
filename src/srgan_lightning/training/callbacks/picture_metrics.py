"""Log metrics of detail, grid patterns and colours at every validation. PSNR does not show these."""

import math
from typing import Any

from lightning import Callback, LightningModule, Trainer

from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.metrics.colour_shift import ColourShift
from srgan_lightning.metrics.grid_energy import GridEnergy
from srgan_lightning.metrics.swd import SlicedWassersteinDistance
from srgan_lightning.training.callbacks.health_log import log_health
from srgan_lightning.training.callbacks.health_rules import picture_faults
from srgan_lightning.training.callbacks.own_share import OwnShare

#: Minimum number of windows for a warning of grids. With fewer windows, the ratio of two grid energies is wrong by
#: more than 15% once in a few hundred times.
MIN_WINDOWS = 250


class PictureMetrics(Callback):
    """A callback that logs metrics that need no network, and warns of a fault that two validations in a row show.

    `val/swd` and `val/bicubic_swd` (`SlicedWassersteinDistance`) compare SR and bicubic with HR. They are low if the
    detail is like HR's. `val/grid` and `val/hr_grid` (`GridEnergy`) are the grid energies of SR and HR, for images
    that are at least as large as its window. `val/colour_shift` (`ColourShift`) is in levels of 255. Each
    warning is given once, and again only if its fault disappeared in between.
    """

    def __init__(self) -> None:
        self.present: set[str] = set()  # faults of the last validation
        self.reported: set[str] = set()

    @property
    def state_key(self) -> str:
        """The callback's key in checkpoints, the same as in release 0.1.0."""
        return "PatchScore"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        scale: int = pl_module.generator.scale  # type: ignore[union-attr, assignment]
        self.metrics = {name: SlicedWassersteinDistance(scale) for name in ("swd", "bicubic_swd")}
        self.grids = {name: GridEnergy(scale) for name in ("grid", "hr_grid")}
        self.colour_shift = ColourShift()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.share = OwnShare(trainer)
        for metric in (*self.metrics.values(), *self.grids.values(), self.colour_shift):
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
        if rows := self.share.rows(batch["index"]):
            lr, sr, hr = (images[rows] for images in (batch["lr"], outputs, batch["hr"]))
            bicubic = resize_bicubic(lr, (hr.shape[-2], hr.shape[-1]))
            for name, pictures in (("swd", sr), ("bicubic_swd", bicubic)):
                self.metrics[name].update(pictures, hr)
            for name, pictures in (("grid", sr), ("hr_grid", hr)):
                self.grids[name].update(pictures)
            self.colour_shift.update(sr, lr)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = {**self.metrics, **self.grids, "colour_shift": self.colour_shift}
        values = {name: float(metric.compute()) for name, metric in metrics.items()}
        for name, value in values.items():
            if not math.isnan(value):
                pl_module.log(f"val/{name}", value)
        if trainer.sanity_checking:
            return
        enough = trainer.world_size * int(self.grids["grid"].windows) >= MIN_WINDOWS
        grids = (values["grid"], values["hr_grid"]) if enough else None
        faults = {fault.name: fault for fault in picture_faults(values["colour_shift"], grids)}
        # A fault must be in two validations in a row, because a network may have faults for a while after its start.
        lasting = self.present & faults.keys()
        for name in sorted(lasting - self.reported):
            log_health(trainer, name, faults[name].words)
        self.present, self.reported = set(faults), lasting

    def state_dict(self) -> dict[str, Any]:
        return {"present": sorted(self.present), "told": sorted(self.reported)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.present, self.reported = set(state_dict["present"]), set(state_dict["told"])
