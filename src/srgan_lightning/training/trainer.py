"""Build the Lightning Trainer from a configuration."""

from collections.abc import Sequence
from typing import Any

import lightning
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ProgressBar
from omegaconf import DictConfig

from srgan_lightning.runs.checkpoint_io import AtomicCheckpointIO
from srgan_lightning.training import processes
from srgan_lightning.training.precision import AUTO, resolve_precision
from srgan_lightning.training.preflight import check_options
from srgan_lightning.training.strategy import PerNetworkDDP


def build_trainer(cfg: DictConfig, manual: bool, more: Sequence[lightning.Callback] = ()) -> lightning.Trainer:
    """Build the Lightning Trainer, with the right strategy for several processes.

    Args:
        cfg: the run's configuration.
        manual: whether the module uses manual optimisation.
        more: further callbacks, after those of the configuration.

    Raises:
        UserError: see `preflight.check_options`.
    """
    if cfg.trainer.precision == AUTO:  # `train` resolves it earlier, with the checkpoint
        resolve_precision(cfg, None)
    check_options(cfg, manual)
    options: dict[str, Any] = {}
    several = processes.count(cfg) > 1
    if cfg.trainer.strategy == "auto" and several:
        options["strategy"] = PerNetworkDDP() if manual else "ddp"
    if cfg.trainer.sync_batchnorm is None:
        options["sync_batchnorm"] = several and processes.needs_sync_batchnorm(cfg)
    callbacks = [*(instantiate(callback) for callback in cfg.callbacks.values() if callback), *more]
    return instantiate(  # type: ignore[no-any-return]
        cfg.trainer,
        callbacks=callbacks,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        logger=[instantiate(logger) for logger in cfg.logger.values() if logger],
        plugins=[AtomicCheckpointIO()],
        **options,
    )
