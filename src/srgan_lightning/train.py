"""`python -m srgan_lightning.train`: train a generator, alone (stage one) or against a discriminator (stage two)."""

import os
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.utils import instantiate
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from omegaconf import DictConfig, OmegaConf

from srgan_lightning.cli import entry_point
from srgan_lightning.errors import UserError
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
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    check(cfg)
    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    if rank_zero_only.rank == 0:  # missing data are told before networks are built or processes started
        data.prepare_data()
        data.setup("fit")
    model = instantiate(cfg.model, loss=instantiate(cfg.loss))
    trainer = build_trainer(cfg)
    for logger in trainer.loggers:
        logger.log_hyperparams(OmegaConf.to_container(cfg, resolve=True))
    ckpt_path = find_last(Path(cfg.run_dir)) if cfg.ckpt_path == "last" else cfg.ckpt_path
    if ckpt_path is not None and not Path(ckpt_path).is_file():
        raise UserError(f"ckpt_path={ckpt_path}: no such checkpoint (looked in {Path(ckpt_path).absolute()}).")

    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    if cfg.test:
        trainer.test(model, data, verbose=False)
    return write_results(cfg, trainer, ckpt_path, seconds=time.perf_counter() - started)


def check(cfg: DictConfig) -> None:
    """Raise UserError for settings that contradict each other or the machine."""
    if "SRGAN" in cfg.model._target_:
        for ours, theirs in (("generator_clip", "gradient_clip_val"), ("accumulate_grad_batches",) * 2):
            if cfg.trainer.get(theirs) not in (None, 1):
                raise UserError(
                    f"trainer.{theirs} does not work with two optimisers: set model.{ours} instead"
                    f"{' and model.discriminator_clip' if ours == 'generator_clip' else ''}."
                )
    devices, cores = cfg.trainer.devices, len(os.sched_getaffinity(0))
    on_cpu = cfg.trainer.accelerator == "cpu" or (cfg.trainer.accelerator == "auto" and not torch.cuda.is_available())
    if on_cpu and isinstance(devices, int) and devices > 2 * cores:
        raise UserError(
            f"trainer.devices={devices} is beyond this machine: it has no GPU that was asked for and {cores} CPU cores, "
            f"enough for {2 * cores} processes. Lower trainer.devices."
        )


def build_trainer(cfg: DictConfig) -> lightning.Trainer:
    """The Lightning Trainer, with the strategy that several processes need."""
    options: dict[str, Any] = {}
    several = cfg.trainer.devices != 1 or cfg.trainer.num_nodes != 1
    if cfg.trainer.strategy == "auto" and several:
        # Two optimisers: each backward pass leaves the other network's parameters unused, which plain DDP refuses.
        options["strategy"] = "ddp_find_unused_parameters_true" if "SRGAN" in cfg.model._target_ else "ddp"
    if cfg.trainer.sync_batchnorm is None:
        options["sync_batchnorm"] = several and torch.cuda.is_available()  # PyTorch has it for GPUs only
    # Said on every run, and not for users: the second is what we do on purpose.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
    return instantiate(  # type: ignore[no-any-return]
        cfg.trainer,
        callbacks=[instantiate(callback) for callback in cfg.callbacks.values() if callback],
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
    rank_zero_info(f"Resuming from {found[-1]}")
    return str(found[-1])


@entry_point("train")
def main(cfg: DictConfig) -> None:
    train(cfg)


if __name__ == "__main__":
    main()
