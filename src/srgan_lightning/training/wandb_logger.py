"""Lightning's W&B logger with panels by group, and the best value of each score in the summary."""

from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger

#: W&B groups panels by what stands before a slash. The names in metrics.csv stay as old runs have them.
GROUPED = {
    "d_real": "discriminator/d_real",
    "d_fake": "discriminator/d_fake",
    "batch": "progress/batch",
    "epoch": "progress/epoch",
    "images_per_second": "progress/images_per_second",
}
#: Which value of a run's curve W&B's table of runs shows, beside the last one.
BEST = {
    "val/psnr_y": "max",
    "val/ssim_y": "max",
    "val/psnr_rgb": "max",
    "val/ssim_rgb": "max",
    "val/swd": "min",
}


class RunWandbLogger(WandbLogger):
    """See the module; takes the options of `WandbLogger`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._wandb_init.pop("anonymous", None)  # W&B warns of it at every start, whatever its value

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        new = self._experiment is None
        run = super().experiment
        if new:
            for name, best in BEST.items():
                run.define_metric(name, step_metric="trainer/global_step", step_sync=True, summary=f"{best},last")
        return run

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        super().log_metrics({GROUPED.get(name, name): value for name, value in metrics.items()}, step)
