"""`python -m srgan_lightning.train`: train a generator, alone (stage one) or against a discriminator (stage two)."""

import os
import time
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from srgan_lightning.cli import entry_point
from srgan_lightning.errors import UserError
from srgan_lightning.inference.artifact import check_architecture, read_checkpoint
from srgan_lightning.quiet import quieten_lightning
from srgan_lightning.training.loggers import finish_wandb, prepare_wandb
from srgan_lightning.training.report import write_results


def train(cfg: DictConfig) -> dict[str, Any]:
    """Train by a composed configuration.

    Args:
        cfg: `conf/train.yaml` with its groups; `run_dir` says where everything is written.

    Returns:
        What `summary.json` holds (on the first process; elsewhere nothing).

    Raises:
        UserError: the configuration or the data cannot be trained on; nothing has been trained then.
    """
    started = time.perf_counter()
    quieten_lightning()
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    check_devices(cfg)
    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    if first_process():  # missing data are told before networks are built or processes started
        data.prepare_data()
        data.setup("fit")
    model = instantiate(cfg.model, loss=instantiate(cfg.loss))
    prepare_wandb(cfg)
    trainer = build_trainer(cfg, manual=not model.automatic_optimization)
    for logger in trainer.loggers:
        logger.log_hyperparams(cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True)))
    ckpt_path = find_last(Path(cfg.run_dir)) if cfg.ckpt_path == "last" else cfg.ckpt_path
    if ckpt_path is not None:
        check_architecture(
            model.generator, read_checkpoint(ckpt_path)[1].get("arguments", {}), f"ckpt_path={ckpt_path}"
        )

    try:
        trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
        if cfg.test:
            trainer.test(model, data, verbose=False)
        return write_results(cfg, trainer, ckpt_path, seconds=time.perf_counter() - started)
    finally:
        finish_wandb(trainer.loggers)


def first_process() -> bool:
    """Whether this is process 0 of the run, known before any process group is."""
    rank: int = rank_zero_only.rank  # type: ignore[attr-defined]
    return rank == 0


def check_devices(cfg: DictConfig) -> None:
    """Raise UserError for more CPU processes than the machine can bear; of GPUs, Lightning says it."""
    devices, cores = cfg.trainer.devices, len(os.sched_getaffinity(0))
    on_cpu = cfg.trainer.accelerator == "cpu" or (cfg.trainer.accelerator == "auto" and not torch.cuda.is_available())
    if on_cpu and isinstance(devices, int) and devices > 2 * cores:
        raise UserError(
            f"trainer.devices={devices} is beyond this machine: no GPU was found or asked for, and its {cores} CPU "
            f"cores are enough for {2 * cores} processes. Lower trainer.devices."
        )


def build_trainer(cfg: DictConfig, manual: bool) -> lightning.Trainer:
    """The Lightning Trainer, with the strategy that several processes need.

    Args:
        cfg: the run's configuration.
        manual: the module steps its optimisers itself.

    Raises:
        UserError: options that do not go with manual optimisation.
    """
    if manual and cfg.trainer.gradient_clip_val is not None:
        raise UserError(
            "trainer.gradient_clip_val does not work with two optimisers: set model.generator_clip and "
            "model.discriminator_clip instead."
        )
    if manual and cfg.trainer.accumulate_grad_batches != 1:
        raise UserError(
            "trainer.accumulate_grad_batches does not work with two optimisers: set model.accumulate_grad_batches."
        )
    options: dict[str, Any] = {}
    several = cfg.trainer.devices != 1 or cfg.trainer.num_nodes != 1
    if cfg.trainer.strategy == "auto" and several:
        # Each backward pass of two optimisers leaves the other network's parameters unused, which plain DDP refuses.
        options["strategy"] = "ddp_find_unused_parameters_true" if manual else "ddp"
    if cfg.trainer.sync_batchnorm is None:
        options["sync_batchnorm"] = several and torch.cuda.is_available()  # PyTorch has it for GPUs only
    callbacks = [instantiate(callback) for callback in cfg.callbacks.values() if callback]
    return instantiate(  # type: ignore[no-any-return]
        cfg.trainer,
        callbacks=callbacks,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        logger=[instantiate(logger) for logger in cfg.logger.values() if logger],
        **options,
    )


def find_last(run_dir: Path) -> str:
    """The newest `last.ckpt` among the runs beside this one.

    Raises:
        UserError: there is none.
    """
    found = sorted(run_dir.parent.glob("*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(
            f"ckpt_path=last: no run below {run_dir.parent.absolute()} has a checkpoints/last.ckpt to go on from."
        )
    if first_process():
        print(f"Resuming from {found[-1]}", flush=True)
    return str(found[-1])


@entry_point("train")
def main(cfg: DictConfig) -> None:
    train(cfg)


if __name__ == "__main__":
    main()
