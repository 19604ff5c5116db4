"""Log perceptual metrics at every validation. They need the weights of trained networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torchmetrics import Metric

from srgan_lightning.imaging.ops import round_to_8_bits
from srgan_lightning.metrics.perceptual import load_metric, load_vgg_distance
from srgan_lightning.training.callbacks.own_share import OwnShare
from srgan_lightning.utils.errors import UserError

NAMES = ("vgg", "lpips", "dists")
OPTION = "callbacks.perceptual_scores"


class PerceptualScores(Callback):
    """A callback that logs `val/vgg`, `val/lpips` and `val/dists`; for all of them lower is better.

    Args:
        metrics: some of `vgg`, `lpips`, `dists`.
        vgg: arguments of `losses.PerceptualLoss`, for the metric `vgg`.

    Raises:
        UserError: a name is unknown; or, when training is set up, a network is unavailable.
    """

    def __init__(self, metrics: Sequence[str], vgg: Mapping[str, Any]) -> None:
        if unknown := [name for name in metrics if name not in NAMES]:
            raise UserError(f"{OPTION}.metrics={unknown} are unknown: use some of {', '.join(NAMES)}.")
        self.names, self.vgg = list(metrics), dict(vgg)
        self.metrics: dict[str, Metric] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for name in self.names:
            if name not in self.metrics:
                self.metrics[name] = (
                    load_vgg_distance(self.vgg, f"{OPTION}.metrics=[vgg] takes {OPTION}.vgg.weights and .layer")
                    if name == "vgg"
                    else load_metric(name, f"remove {name} from {OPTION}.metrics")
                )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.share = OwnShare(trainer)
        for metric in self.metrics.values():
            metric.reset()
            metric.to(pl_module.device)

    @torch.no_grad()
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not self.metrics:
            return
        for row in self.share.rows(batch["index"]):  # one by one, to limit the metrics' memory
            sr, hr = round_to_8_bits(outputs[row : row + 1].float()), batch["hr"][row : row + 1].float()
            for metric in self.metrics.values():
                metric.update(sr, hr)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, metric in self.metrics.items():
            pl_module.log(f"val/{name}", float(metric.compute()))
