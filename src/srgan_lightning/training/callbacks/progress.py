"""Show one progress bar for the whole run, with the time left, and report a line for every validation."""

import math
import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from srgan_lightning.metrics.score_format import format_score
from srgan_lightning.runs.log import LOG

#: Logged metrics that the bar shows, with their formats.
SHOWN = {
    "loss/generator": "G {:.4f}",
    "loss/discriminator": "D {:.3f}",
    "images_per_second": "{:.0f} img/s",
    "psnr_y": "{:.2f} dB",
}
READ_EVERY = 1.0  # seconds between two readings of the metrics


class RunProgress(ProgressBar):
    """A progress bar for the whole run. Lightning's bars restart every epoch, which may last only a few seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.enabled, self.read = True, -READ_EVERY
        self.console = Console()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}"),
            console=self.console,
        )

    def disable(self) -> None:
        self.enabled = False  # Lightning calls this on all processes but rank zero

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.enabled:
            return
        total: float | None = trainer.max_steps if trainer.max_steps != -1 else None
        if total is None and trainer.max_epochs not in (None, -1):
            updates: float = trainer.max_epochs * pl_module.updates_per_epoch  # type: ignore[operator, assignment]
            total = None if math.isinf(updates) else int(updates)
        self.task = self.bar.add_task("train", total=total, completed=trainer.global_step, shown="")
        self.validation = self.bar.add_task("validate", total=None, visible=False, shown="")
        self.bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self.enabled:
            return
        self.bar.update(self.task, completed=trainer.global_step)
        if time.monotonic() - self.read > READ_EVERY:  # not after every batch, because reading waits for the device
            self.read = time.monotonic()
            metrics = {**trainer.callback_metrics, **trainer.progress_bar_metrics, **pl_module.values}  # type: ignore[dict-item]
            shown = "  ".join(text.format(float(metrics[key])) for key, text in SHOWN.items() if key in metrics)  # type: ignore[arg-type]
            self.bar.update(self.task, shown=shown)

    def _shows_validation(self, trainer: Trainer) -> bool:
        # The sanity check runs before the bar starts.
        return self.enabled and trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._shows_validation(trainer):
            self.bar.reset(self.validation, total=sum(trainer.num_val_batches), visible=True)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._shows_validation(trainer):
            self.bar.advance(self.validation)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._shows_validation(trainer):
            self.bar.update(self.validation, visible=False)
            names = ("psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y")
            psnr, ssim, *bicubic = (
                format_score(name, float(trainer.callback_metrics[f"val/{name}"])) for name in names
            )
            LOG.info(
                f"update {trainer.global_step}: PSNR-Y {psnr} dB, SSIM-Y {ssim} (bicubic {bicubic[0]} dB, {bicubic[1]})"
            )

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.bar.stop()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.bar.stop()
