"""A run of `python -m srgan_lightning.train`: train a generator, alone (stage one) or against a discriminator (two)."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from omegaconf import DictConfig, OmegaConf

from srgan_lightning.atomic import remove_partials
from srgan_lightning.data.datamodule import SuperResolutionData, check_seed
from srgan_lightning.errors import UserError
from srgan_lightning.inference.artifact import check_architecture, load_generator_weights, read_checkpoint
from srgan_lightning.networks.generator import check_scale
from srgan_lightning.quiet import quieten_lightning
from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.runs.provenance import describe_start, record_start
from srgan_lightning.runs.resume import is_rank_zero, warn_if_complete
from srgan_lightning.training import processes
from srgan_lightning.training.callbacks import Interruption, NonFinite, Stopped
from srgan_lightning.training.checkpoint_checks import restoring
from srgan_lightning.training.checkpoint_io import AtomicCheckpointIO, verify_checkpoint
from srgan_lightning.training.csv_history import RunCSVLogger
from srgan_lightning.training.launcher import connect, launch
from srgan_lightning.training.loggers import finish_wandb, log_config, prepare_wandb
from srgan_lightning.training.memory import check_batches_fit
from srgan_lightning.training.module import SuperResolutionModule
from srgan_lightning.training.report import add_test_scores, write_results
from srgan_lightning.training.strategy import PerNetworkDDP

#: Modes of torch.compile that keep gradients in the memory of a CUDA graph.
CUDA_GRAPH_MODES = ("reduce-overhead", "max-autotune")
#: Of Lightning's, those in which images, losses and the metric stay float32 where they must.
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


def train(cfg: DictConfig, callbacks: Sequence[lightning.Callback] = ()) -> dict[str, Any]:
    """Train by a composed configuration.

    Args:
        cfg: `conf/train.yaml` with its groups; `run_dir` says where everything is written.
        callbacks: more of them, after those of the configuration; they stay in this process, also where it starts
            others.

    Returns:
        What `summary.json` holds (on the first process; elsewhere nothing).

    Raises:
        UserError: the configuration or the data cannot be trained on, and nothing has been trained; or NaN and
            infinity stopped the training, and everything is saved.
        SystemExit: a signal ended the run early; its checkpoint and results have been written.
    """
    started = time.perf_counter()
    quieten_lightning()
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it
    # The same on every process, and right so: the networks begin equal, and crops, flips and degradation are drawn from
    # the epoch and the number of the image, whichever process has it. Processes differ in their share of the images.
    check_seed(cfg.seed)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    processes.check_devices(cfg)
    if cfg.model.generator.get("_target_") == "srgan_lightning.networks.Generator":
        check_scale(cfg.model.generator.scale)  # before sizes are judged by it
    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    if is_rank_zero():  # missing data are told before networks are built or processes started
        data.prepare_data()
        data.setup("fit")
        if cfg.test:
            data.setup("test")
    model = instantiate(cfg.model, loss=instantiate(cfg.loss))
    if is_rank_zero():
        check_batches_fit(data, model, on_cpu=processes.on_cpu(cfg) or not torch.cuda.is_available())
    run = RunDirectory.open(cfg)
    about: dict[str, Any] = {"batches": -1}
    if cfg.ckpt_path is not None:
        about = read_checkpoint(cfg.ckpt_path)[1]
        verify_checkpoint(Path(cfg.ckpt_path))
        check_architecture(model.generator, about.get("arguments", {}), f"ckpt_path={cfg.ckpt_path}")
    prepare_wandb(cfg)
    trainer = build_trainer(cfg, manual=not model.automatic_optimization, more=callbacks)
    if processes.needs_launch(trainer):
        return launch(cfg, trainer.num_devices)
    processes.broadcast_configuration(cfg)
    connect(trainer)

    with run.lock():
        start = begin(cfg, data)
        try:
            log_config(trainer.loggers, cfg)
            for logger in trainer.loggers:
                if isinstance(logger, RunCSVLogger):
                    logger.go_on_from(about.get("batches", 0))
            if trainer.is_global_zero:
                warn_if_complete(cfg.trainer.max_steps, about)
                print(processes.images_per_update(cfg, trainer.world_size), flush=True)
            stopped = fit(trainer, model, data, cfg)
            summary = write_results(cfg, trainer, start, seconds=time.perf_counter() - started)
            if cfg.test and not stopped:
                trainer.strategy.barrier("artifact")
                load_generator_weights(model.generator, str(run.artifact))  # what was delivered
                trainer.test(model, data, verbose=False)
                summary = add_test_scores(cfg, trainer, summary)
        finally:
            finish_wandb(trainer.loggers)
    if trainer.is_global_zero:  # the others end with 0: their launcher would kill the first, which has files to write
        failure = next((c.failure for c in trainer.callbacks if isinstance(c, NonFinite)), None)  # type: ignore[attr-defined]
        if failure:
            raise UserError(failure)
        if stopped:
            raise SystemExit(stopped.exit_code())
    return summary


def begin(cfg: DictConfig, data: SuperResolutionData) -> dict[str, Any]:
    """Record the start of a run in its directory, and say what differs from the start that it goes on from."""
    if not is_rank_zero():
        return {}
    remove_partials(cfg.run_dir)
    start = describe_start(cfg, data, cfg.ckpt_path)
    for difference in record_start(RunDirectory(Path(cfg.run_dir)), start):
        unused = " (without effect: an optimiser goes on as in its checkpoint)" if "_optimizer." in difference else ""
        print(f"Resuming with {difference}{unused}", flush=True)
    return start


def fit(
    trainer: lightning.Trainer, model: SuperResolutionModule, data: SuperResolutionData, cfg: DictConfig
) -> Interruption | None:
    """Train to the end or to a signal; the callback that took the signal, if one did."""
    with suppress(Stopped), restoring(trainer, cfg.ckpt_path):
        trainer.fit(model, data, ckpt_path=cfg.ckpt_path, weights_only=True)
    callbacks: list[lightning.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    stopped = next((c for c in callbacks if isinstance(c, Interruption) and c.stopped), None)
    if not stopped and not any(isinstance(c, ModelCheckpoint) and c.best_model_path for c in callbacks):
        trainer.save_checkpoint(
            RunDirectory(Path(cfg.run_dir)).last
        )  # a run without validations, at which the others are written
    return stopped


def build_trainer(cfg: DictConfig, manual: bool, more: Sequence[lightning.Callback] = ()) -> lightning.Trainer:
    """The Lightning Trainer, with the strategy that several processes need.

    Args:
        cfg: the run's configuration.
        manual: the module steps its optimisers itself.
        more: callbacks besides those of the configuration.

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
    if cfg.trainer.sync_batchnorm and (cfg.model.compile or processes.on_cpu(cfg)):
        raise UserError(
            "trainer.sync_batchnorm=true needs GPUs, and networks that are not compiled, since it breaks these up: "
            "leave it out, or train on GPUs with model.compile=false."
        )
    optimizers = [f"{name}_optimizer" for name in ("generator", "discriminator") if f"{name}_optimizer" in cfg.model]
    clipped = cfg.trainer.gradient_clip_val or cfg.model.get("generator_clip") or cfg.model.get("discriminator_clip")
    if cfg.trainer.precision == "16-mixed" and clipped and any(cfg.model[name].get("fused") for name in optimizers):
        raise UserError(
            "Clipping in 16-mixed needs gradients that the optimiser has not scaled back by itself, as fused ones do: "
            f"set {' '.join(f'model.{name}.fused=false' for name in optimizers)}, or trainer.precision=bf16-mixed."
        )
    option = "model.accumulate_grad_batches" if manual else "trainer.accumulate_grad_batches"
    if cfg.model.get("compile") in CUDA_GRAPH_MODES and OmegaConf.select(cfg, option) != 1:
        raise UserError(
            f"model.compile={cfg.model.compile} replays CUDA graphs, which write over the gradients that wait for more "
            f"batches: set model.compile=true, or {option}=1 with a larger data.batch_size."
        )
    if cfg.trainer.precision not in PRECISIONS:
        raise UserError(f"trainer.precision={cfg.trainer.precision}: use one of {', '.join(PRECISIONS)}.")
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


def objective(cfg: DictConfig, summary: dict[str, Any]) -> float | list[float] | None:
    """What a sweeper optimises: the scores that `objective` names; None where the run was not scored.

    Raises:
        UserError: there is no such score.
    """
    if "psnr_y" not in summary:
        return None
    names = [cfg.objective] if isinstance(cfg.objective, str) else list(cfg.objective)
    for name in names:
        if not isinstance(summary.get(name), int | float):
            numbers = ", ".join(key for key, value in summary.items() if isinstance(value, int | float))
            raise UserError(f"objective={name}: summary.json has no such number; it has {numbers}.")
    values = [float(summary[name]) for name in names]
    return values[0] if isinstance(cfg.objective, str) else values
