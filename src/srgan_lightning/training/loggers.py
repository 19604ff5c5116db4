"""What W&B needs besides Lightning's logger: a run that never stops for a key, and ends with its job."""

import os

import wandb
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig


@rank_zero_only
def prepare_wandb(cfg: DictConfig) -> None:
    """Keep the run offline where there is neither a key nor a terminal to ask for one; WANDB_MODE has the last word."""
    if "wandb" not in cfg.logger or "WANDB_MODE" in os.environ:
        return
    try:
        online = wandb.login()
    except wandb.errors.UsageError:  # there is no one to ask
        online = False
    if not online:
        os.environ["WANDB_MODE"] = "offline"
        wandb.teardown()  # it has read the environment already
        print("W&B: no API key (`wandb login`), so the run is kept offline: send it with `wandb sync`.", flush=True)


def finish_wandb(loggers: list[Logger]) -> None:
    """End the W&B run, so that the next job of a sweep starts one of its own."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        wandb.finish()
