"""Log configuration, code version, and the best generator with its scores to W&B and TensorBoard.

Also start W&B without waiting for a key, and finish its run with the job.
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
    """Continue the W&B run of a resumed directory, under the same id.

    Without a key, and without a terminal to ask for one, W&B runs offline. WANDB_MODE has priority.
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
    except wandb.errors.UsageError:  # no terminal to ask for a key
        online = False
    if not online:
        os.environ["WANDB_MODE"] = "offline"
        wandb.teardown()  # so that W&B reads the environment again
        LOG.info("W&B: no API key (`wandb login`), so the run is logged offline. Upload it with `wandb sync`.")


@rank_zero_only
def log_config(loggers: list[Logger], cfg: DictConfig) -> None:
    """Log the whole configuration and the code version to every logger."""
    config = {**cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True)), "code_version": version_name()}
    for logger in loggers:
        logger.log_hyperparams(config)
        if isinstance(logger, TensorBoardLogger):  # TensorBoard shows hyperparameters only with scores
            yaml = OmegaConf.to_yaml(OmegaConf.create(config)).replace("\n", "\n    ")
            logger.experiment.add_text("config", f"    {yaml}", 0)  # four spaces: a block of code in Markdown


@rank_zero_only
def log_best(loggers: list[Logger], artifact: Path, scores: dict[str, float], step: int) -> None:
    """Log the scores of the run's best generator, and the generator itself to W&B.

    Args:
        loggers: the Trainer's loggers.
        artifact: the file `generator.safetensors`.
        scores: scores of that generator by name.
        step: number of generator updates at the end of the run.
    """
    best = {f"best/{name}": value for name, value in scores.items()}
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(logger.hparams, metrics=best, step=step)
        elif isinstance(logger, WandbLogger):
            run = logger.experiment
            run.summary.update(best)
            model = wandb.Artifact(f"generator-{run.id}", type="model", metadata=scores)
            # With `immutable`, W&B does not copy the file. `wandb sync` of an offline run uploads it from this path.
            model.add_file(str(artifact), policy="immutable")
            run.log_artifact(model, aliases=["best", "latest"])


@contextmanager
def wandb_finished(loggers: list[Logger]) -> Iterator[None]:
    """Finish the W&B run at the end, and mark it as failed after an error.

    So the next job of a sweep starts a new run.
    """
    try:
        yield
    finally:
        if any(isinstance(logger, WandbLogger) for logger in loggers):
            wandb.finish(exit_code=int(sys.exc_info()[0] is not None))
