"""What W&B and TensorBoard get besides Lightning's scalars: config, code version, the best generator and its scores.

And what W&B needs: a run that never stops for a key, and ends with its job.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import wandb
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.runs.log import LOG
from srgan_lightning.runs.provenance import version_name


@rank_zero_only
def prepare_wandb(cfg: DictConfig) -> None:
    """Go on with the W&B run of a resumed directory, under its id.

    Where there is neither a key nor a terminal to ask for one, keep it offline; WANDB_MODE has the last word.
    """
    if "wandb" not in cfg.logger:
        return
    runs = RunDirectory(Path(cfg.run_dir)).wandb_runs()
    if runs and cfg.logger.wandb.id is None:
        cfg.logger.wandb.id = runs[-1].name.rsplit("-", 1)[-1]
    if "WANDB_MODE" in os.environ:
        return
    try:
        online = wandb.login()
    except wandb.errors.UsageError:  # there is no one to ask
        online = False
    if not online:
        os.environ["WANDB_MODE"] = "offline"
        wandb.teardown()  # it has read the environment already
        LOG.info("W&B: no API key (`wandb login`), so the run is kept offline: send it with `wandb sync`.")


@rank_zero_only
def log_config(loggers: list[Logger], cfg: DictConfig) -> None:
    """Give every logger the whole configuration and the version of the code."""
    config = {**cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True)), "code_version": version_name()}
    for logger in loggers:
        logger.log_hyperparams(config)
        if isinstance(logger, TensorBoardLogger):  # it keeps hyperparameters back until there are scores
            yaml = OmegaConf.to_yaml(OmegaConf.create(config)).replace("\n", "\n    ")
            logger.experiment.add_text("config", f"    {yaml}", 0)  # four spaces: a block of code in Markdown


@rank_zero_only
def log_best(loggers: list[Logger], artifact: Path, scores: dict[str, float], step: int) -> None:
    """Give the loggers the scores of the run's best generator, and W&B the generator itself.

    Args:
        loggers: the Trainer's.
        artifact: `generator.safetensors`.
        scores: of that generator, by name.
        step: generator updates at the end of the run.
    """
    best = {f"best/{name}": value for name, value in scores.items()}
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(logger.hparams, metrics=best, step=step)
        elif isinstance(logger, WandbLogger):
            run = logger.experiment
            run.summary.update(best)
            model = wandb.Artifact(f"generator-{run.id}", type="model", metadata=scores)
            # Immutable: not copied aside, so an offline run is sent from where it lies.
            model.add_file(str(artifact), policy="immutable")
            run.log_artifact(model, aliases=["best", "latest"])


@contextmanager
def wandb_finished(loggers: list[Logger]) -> Iterator[None]:
    """End the W&B run afterwards, as failed where an error is raised: the next job of a sweep starts one of its own."""
    try:
        yield
    finally:
        if any(isinstance(logger, WandbLogger) for logger in loggers):
            wandb.finish(exit_code=int(sys.exc_info()[0] is not None))
