"""`trainer.precision=auto`: the precision that a run's device is fastest in, or that a resumed run began in."""

import torch
from omegaconf import DictConfig

from srgan_lightning.artifacts.artifact import load_checkpoint
from srgan_lightning.runs.checkpoint_checks import ADVICE
from srgan_lightning.runs.log import LOG
from srgan_lightning.runs.resume import is_rank_zero
from srgan_lightning.training import launcher
from srgan_lightning.training.processes import on_cpu
from srgan_lightning.utils.bf16 import fast_bf16
from srgan_lightning.utils.errors import UserError

AUTO = "auto"
#: Of Lightning's, those in which images, losses and the metric stay float32 where they must.
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


def resolve_precision(cfg: DictConfig, checkpoint: str | None) -> None:
    """Put a precision in the place of `auto`, and report which one the run has, why, and how to change it.

    The first process does so, before it starts others or sends them its configuration.

    Args:
        cfg: the run's configuration; `trainer.precision` is changed.
        checkpoint: the file that the run is resumed from: it keeps the precision that it began in.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    if launcher.launched() or not is_rank_zero():
        return  # resolved before, or soon found to be no precision at all
    if cfg.trainer.precision != AUTO:
        if (given := cfg.trainer.precision) in PRECISIONS:  # the others are refused with the other options
            LOG.info("Precision %s, as given; trainer.precision=auto takes the device's fastest.", given)
        return
    if checkpoint is None:
        precision, reason = fastest_precision(devices_of(cfg))
    else:
        precision, reason = recorded_precision(checkpoint), "the run that is resumed began in it"
    cfg.trainer.precision = precision
    other = "bf16-mixed" if precision == "32-true" else "32-true"
    LOG.info("Precision %s, since %s; trainer.precision=%s changes it.", precision, reason, other)


def fastest_precision(devices: list[torch.device]) -> tuple[str, str]:
    """`bf16-mixed` where every device is fast in it, otherwise `32-true`; and why, in words that follow "since"."""
    slow = [reason for fast, reason in map(fast_bf16, devices) if not fast]
    return ("32-true", slow[0]) if slow else ("bf16-mixed", fast_bf16(devices[0])[1])


def devices_of(cfg: DictConfig) -> list[torch.device]:
    """The devices that a run asks this machine for, as Lightning counts them."""
    if on_cpu(cfg):
        return [torch.device("cpu")]
    if not torch.cuda.is_available() or cfg.trainer.accelerator not in ("auto", "gpu", "cuda"):
        return [torch.device("mps")]  # or none, as Lightning will say
    asked, there = cfg.trainer.devices, torch.cuda.device_count()
    if isinstance(asked, int):
        numbers = list(range(min(asked, there) if asked > 0 else there))
    else:  # a list of their numbers, or `auto` and the like
        numbers = list(range(there)) if isinstance(asked, str) else [n for n in asked if 0 <= n < there]
    return [torch.device("cuda", number) for number in numbers or [0]]


def recorded_precision(checkpoint: str) -> str:
    """The precision that a checkpoint was trained in; those that name none are older, and of float32.

    Raises:
        UserError: the checkpoint cannot be read, or names no precision of ours.
    """
    found = load_checkpoint(checkpoint).get("precision", "32-true")
    if found not in PRECISIONS:
        raise UserError(f"{checkpoint} cannot be resumed from: its precision is {found!r}. {ADVICE}")
    return str(found)
