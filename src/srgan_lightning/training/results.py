"""Write the results of a run (network weights and `summary.json`), and determine its exit code."""

import json
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from srgan_lightning.artifacts.artifact import read_checkpoint, write_artifact
from srgan_lightning.artifacts.init_from import load_generator_weights
from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.data.folder import PairedData
from srgan_lightning.metrics.psnr_ssim import METRIC_NAMES, protocol
from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.runs.log import LOG, report
from srgan_lightning.training.callbacks import InitialValidation, Interruption, NonFinite, Throughput
from srgan_lightning.training.csv_history import read_curve
from srgan_lightning.training.discriminator_file import write_discriminator
from srgan_lightning.training.loggers import log_best
from srgan_lightning.training.module import SuperResolutionModule
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.files import write_atomically


def interruption(trainer: lightning.Trainer) -> Interruption | None:
    """Return the interruption callback if a signal stopped the training, else None."""
    callbacks: list[lightning.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((c for c in callbacks if isinstance(c, Interruption) and c.stopped), None)


def raise_if_stopped(trainer: lightning.Trainer) -> None:
    """Raise on rank zero if the training was stopped.

    Other processes exit with 0, because their launcher would kill rank zero if they failed.

    Raises:
        UserError: NaN or infinity stopped the training.
        SystemExit: a signal stopped the training.
    """
    if not trainer.is_global_zero:
        return
    callbacks: list[lightning.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    failure = next((c.failure for c in callbacks if isinstance(c, NonFinite)), None)
    if failure:
        raise UserError(failure)
    if stopped := interruption(trainer):
        raise SystemExit(stopped.exit_code())


def write_results(
    cfg: DictConfig, run: RunDirectory, trainer: lightning.Trainer, start: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Write the best generator, its discriminator and the summary of a run, and print the scores; only on rank zero.

    Args:
        cfg: the run's configuration.
        run: the run directory.
        trainer: the Trainer after `fit`.
        start: see `provenance.describe_start`. If the training saved no checkpoint, the one in `start` is used.
        seconds: run time of this process in seconds.

    Returns:
        The summary; empty on other ranks than zero.
    """
    if not trainer.is_global_zero:
        return {}
    callbacks: list[lightning.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    checkpoints = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    paths = [*(callback.best_model_path for callback in checkpoints), str(run.last), start["checkpoint"] or ""]
    checkpoint = next((path for path in paths if Path(path).is_file()), "")
    throughput = next((callback for callback in callbacks if isinstance(callback, Throughput)), None)
    start_scores = next((callback.scores for callback in callbacks if isinstance(callback, InitialValidation)), {})
    module = cast(SuperResolutionModule, trainer.lightning_module)
    training = {
        "seconds": round(seconds + (throughput.earlier if throughput else 0), 1),
        "images_per_second": round(throughput.mean, 2) if throughput else None,
        "device": device_name(trainer.strategy.root_device),
        "processes": trainer.world_size,
        "precision": trainer.precision,
    }
    scores: dict[str, float] = {}
    updates = None
    if checkpoint:
        weights, metadata = read_checkpoint(checkpoint)
        updates = metadata["recipe"]["updates"]
        scores = metadata["scores"]
        artifact_metadata = {
            "recipe": metadata["recipe"],
            "data": describe_data(cfg, cast(SuperResolutionData, trainer.datamodule)),  # type: ignore[attr-defined]
            "scores": scores,
            "protocol": protocol(cfg.scale),
        }
        artifact_metadata["training"] = training | read_curve(run.history)
        artifact_metadata["provenance"] = {"code": start["code"], "data": start["data"]}
        write_artifact(run.artifact, weights, metadata["architecture"], metadata["arguments"], artifact_metadata)
        write_discriminator(run.discriminator, checkpoint)
        log_best(trainer.loggers, run.artifact, scores, trainer.global_step)
    summary = {
        **scores,
        **{f"start_{name}": value for name, value in start_scores.items() if not name.startswith("bicubic_")},
        "interrupted": interruption(trainer) is not None,
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        **training,
        "skipped_images": cast(SuperResolutionData, trainer.datamodule).skipped,  # type: ignore[attr-defined]
        "generator_parameters": sum(p.numel() for p in module.generator.parameters()),
        "checkpoint": str(checkpoint),
        "checkpoint_steps": updates,
        "protocol": "; ".join(f"{key}: {value}" for key, value in protocol(cfg.scale).items()),
    }
    _write_summary(run, summary)
    if scores:
        print_scores(scores, f"{Path(checkpoint).stem}.ckpt, update {updates}", start_scores)
        LOG.info("Protocol: %s", summary["protocol"])
    LOG.info("Run directory: %s", run.path)
    return summary


def test_delivered(
    run: RunDirectory,
    trainer: lightning.Trainer,
    model: SuperResolutionModule,
    data: SuperResolutionData,
    summary: dict[str, Any],
) -> dict[str, Any]:
    """Score the written generator on the test split, and add the scores to `summary.json`.

    Returns:
        The content of `summary.json`; empty on other ranks than zero.
    """
    trainer.strategy.barrier("artifact")
    load_generator_weights(model.generator, str(run.artifact))
    trainer.test(model, data, verbose=False)
    if not trainer.is_global_zero:
        return {}
    tests = {key.replace("/", "_"): float(v) for key, v in trainer.callback_metrics.items() if key.startswith("test/")}
    _write_summary(run, summary | tests)
    print_scores({key.removeprefix("test_"): value for key, value in tests.items()}, "test split")
    return summary | tests


def _write_summary(run: RunDirectory, summary: dict[str, Any]) -> None:
    write_atomically(run.summary, (json.dumps(summary, indent=2) + "\n").encode())


def describe_data(cfg: DictConfig, data: SuperResolutionData) -> dict[str, Any]:
    """Describe the training data: class, sizes, and degradation or `lr: files`, without paths of this machine."""
    described: dict[str, Any] = {"set": cfg.data._target_.rsplit(".", 1)[-1]}
    if isinstance(data, PairedData):  # of the degradation, it uses only the scale
        described["lr"] = "files"
    else:
        degradation = cast(dict[str, Any], OmegaConf.to_container(cfg.degradation, resolve=True))
        described["degradation"] = degradation.pop("_target_").rsplit(".", 1)[-1]
        described["degradation_options"] = degradation
    return described | {key: cfg.data[key] for key in ("crop", "batch_size", "fit") if key in cfg.data}


def device_name(device: torch.device) -> str:
    """Return the model of a CUDA GPU; for other devices the type and the number of threads."""
    return (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type}, {torch.get_num_threads()} threads"
    )


def print_scores(scores: dict[str, float], title: str, start: dict[str, float] | None = None) -> None:
    """Print a table that compares the model with bicubic and with the initial weights, on the same images.

    Args:
        scores: scores by name; those of bicubic as `bicubic_<name>`.
        title: title of the table.
        start: scores of the weights of `model.init_from`; empty or None without them.
    """
    table = Table("score", "model", *["start"] * bool(start), "bicubic", "gain", title=title)
    for name in METRIC_NAMES:
        digits = 2 if "psnr" in name else 4
        columns = [scores[name], *([start[name]] if start else []), scores[f"bicubic_{name}"]]
        gain = scores[name] - scores[f"bicubic_{name}"]
        table.add_row(name, *(f"{value:.{digits}f}" for value in columns), f"{gain:+.{digits}f}")
    report(table)


def objective(cfg: DictConfig, summary: dict[str, Any]) -> float | list[float] | None:
    """Return the scores named by `objective`, which a sweeper optimises; None if the run was not scored.

    Raises:
        UserError: there is no such score.
    """
    if "psnr_y" not in summary:
        return None
    names = [cfg.objective] if isinstance(cfg.objective, str) else list(cfg.objective)
    for name in names:
        if not isinstance(summary.get(name), int | float):
            numbers = ", ".join(key for key, value in summary.items() if isinstance(value, int | float))
            raise UserError(f"objective={name}: summary.json has no such number. Use one of {numbers}.")
    values = [float(summary[name]) for name in names]
    return values[0] if isinstance(cfg.objective, str) else values
