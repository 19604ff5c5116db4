"""Run a training: a generator alone (stage one) or against a discriminator (stage two)."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig

from srgan_lightning.data.datamodule import SuperResolutionData, check_seed
from srgan_lightning.runs.checkpoint_checks import IMPLEMENTATION, restoring
from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.runs.log import LOG
from srgan_lightning.runs.provenance import describe_start, record_configuration, record_start
from srgan_lightning.runs.resume import is_rank_zero, warn_if_complete
from srgan_lightning.training import processes
from srgan_lightning.training.build import build_data, build_model
from srgan_lightning.training.callbacks import Stopped
from srgan_lightning.training.csv_history import RunCSVLogger
from srgan_lightning.training.launcher import connect, launch
from srgan_lightning.training.loggers import log_config, prepare_wandb, wandb_finished
from srgan_lightning.training.module import SuperResolutionModule
from srgan_lightning.training.precision import resolve_precision
from srgan_lightning.training.preflight import preflight
from srgan_lightning.training.results import interruption, objective, raise_if_stopped, test_delivered, write_results
from srgan_lightning.training.trainer import build_trainer
from srgan_lightning.utils.files import remove_partials
from srgan_lightning.utils.logging import silence_lightning
from srgan_lightning.utils.memory import keep_freed_memory

__all__ = ["build_trainer", "objective", "train"]


def train(cfg: DictConfig, callbacks: Sequence[lightning.Callback] = ()) -> dict[str, Any]:
    """Run the training that a composed configuration describes.

    Args:
        cfg: the configuration of `conf/train.yaml` with its groups; everything is written to its `run_dir`.
        callbacks: further callbacks, after those of the configuration. Processes that `train` starts do not get them.

    Returns:
        The content of `summary.json`; empty on other ranks than zero.

    Raises:
        UserError: configuration or data are invalid, which is checked before any training. Or NaN or infinity
            stopped the training; this is raised after everything is saved.
        SystemExit: a signal stopped the run; raised after its checkpoint and results are written.
    """
    started = time.perf_counter()
    configure_runtime(cfg)
    run = RunDirectory.open(cfg)
    resolve_precision(cfg, run.checkpoint)
    data = build_data(cfg)  # missing data are reported before networks are built or processes started
    model = build_model(cfg)
    metadata = preflight(cfg, data, model, run.checkpoint)
    prepare_wandb(cfg)
    trainer = build_trainer(cfg, manual=not model.automatic_optimization, more=callbacks)
    if processes.needs_launch(trainer):
        return launch(cfg, trainer.num_devices)
    processes.broadcast_configuration(cfg)
    connect(trainer)

    with run.lock(), wandb_finished(trainer.loggers):
        start = begin(cfg, run, trainer, data, metadata)
        fit(trainer, model, data, run)
        summary = write_results(cfg, run, trainer, start, seconds=time.perf_counter() - started)
        if cfg.test and not interruption(trainer):
            summary = test_delivered(run, trainer, model, data, summary)
    raise_if_stopped(trainer)
    return summary


def configure_runtime(cfg: DictConfig) -> None:
    """Set up logging, TF32, memory and the RNGs of this process.

    Raises:
        UserError: the seed is out of range, or there are too many CPU processes for the machine.
    """
    silence_lightning()
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it
    keep_freed_memory()
    # All processes use the same seed, so that their networks start equal. Their crops, flips and degradations still
    # differ: these are drawn from the epoch and the index of the image, and each process has other images.
    check_seed(cfg.seed)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    processes.check_devices(cfg)


def begin(
    cfg: DictConfig, run: RunDirectory, trainer: lightning.Trainer, data: SuperResolutionData, metadata: dict[str, Any]
) -> dict[str, Any]:
    """Record the start of a run in its directory, and report differences from the previous start.

    Args:
        cfg: the run's configuration.
        run: the run directory.
        trainer: the Trainer. Its `RunCSVLogger` drops the rows after the checkpoint, or all rows if there is none.
        data: the data module after `setup("fit")`.
        metadata: see `preflight.preflight`.

    Returns:
        See `provenance.describe_start`; empty on other ranks than zero.
    """
    start: dict[str, Any] = {}
    if is_rank_zero():
        remove_partials(run.path)
        record_configuration(run, cfg)
        start = describe_start(cfg, data, run.checkpoint)
        for difference in record_start(run, start):
            used = "_optimizer." not in difference or any(f"_optimizer.{x}:" in difference for x in IMPLEMENTATION)
            if not run.checkpoint:
                LOG.info("Starting again with %s", difference)
            elif used:
                LOG.info("Resuming with %s", difference)
            else:
                LOG.info("Resuming with %s (without effect: the optimiser continues as in its checkpoint)", difference)
    log_config(trainer.loggers, cfg)
    for logger in trainer.loggers:
        if isinstance(logger, RunCSVLogger):
            logger.truncate_after(metadata.get("batches", 0))
    if trainer.is_global_zero:
        warn_if_complete(cfg.trainer.max_steps, metadata)
        LOG.info(processes.images_per_update(cfg, trainer.world_size))
    return start


def fit(trainer: lightning.Trainer, model: SuperResolutionModule, data: SuperResolutionData, run: RunDirectory) -> None:
    """Train until the end or a signal."""
    with suppress(Stopped), restoring(trainer, run.checkpoint):
        trainer.fit(model, data, ckpt_path=run.checkpoint, weights_only=True)
    callbacks: list[lightning.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if not interruption(trainer) and not any(isinstance(c, ModelCheckpoint) and c.best_model_path for c in callbacks):
        trainer.save_checkpoint(run.last)  # without validations, no checkpoint has been written
