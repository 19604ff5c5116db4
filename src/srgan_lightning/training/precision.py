"""Resolve `trainer.precision=auto` to the device's fastest precision, or to that of a resumed run."""

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CUDAAccelerator
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
#: Lightning's precisions in which images, losses and metrics stay float32.
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


def resolve_precision(cfg: DictConfig, checkpoint: str | None) -> None:
    """Replace `auto` by a precision, and report the run's precision, the reason, and how to change it.

    Only rank zero does this. The other processes receive its configuration later, with the precision resolved.

    Args:
        cfg: the run's configuration; `trainer.precision` is changed.
        checkpoint: the file from which the run is resumed, whose precision is kept; or None.

    Raises:
        UserError: see `recorded_precision`.
    """
    if launcher.launched() or not is_rank_zero():
        return  # resolved by rank zero
    if cfg.trainer.precision != AUTO:
        if (given := cfg.trainer.precision) in PRECISIONS:  # others are refused later, by `check_options`
            LOG.info("Precision %s, as set; trainer.precision=auto chooses the device's fastest.", given)
        return
    if checkpoint is None:
        precision, reason = fastest_precision(devices_of(cfg))
    else:
        precision, reason = recorded_precision(checkpoint), "the resumed run started with it"
    cfg.trainer.precision = precision
    other = "bf16-mixed" if precision == "32-true" else "32-true"
    LOG.info("Precision %s, since %s. Set trainer.precision=%s to change it.", precision, reason, other)


def fastest_precision(devices: list[torch.device]) -> tuple[str, str]:
    """Return `bf16-mixed` if all devices have bf16 in hardware, else `32-true`.

    The second value is the reason, in words that follow "since".
    """
    slow = [reason for fast, reason in map(fast_bf16, devices) if not fast]
    return ("32-true", slow[0]) if slow else ("bf16-mixed", fast_bf16(devices[0])[1])


def devices_of(cfg: DictConfig) -> list[torch.device]:
    """Return the devices that a run uses on this machine, by Lightning's rules."""
    if on_cpu(cfg):
        return [torch.device("cpu")]
    if not torch.cuda.is_available() or cfg.trainer.accelerator not in ("auto", "gpu", "cuda"):
        return [torch.device("mps")]  # if there is no such device, Lightning reports it
    asked, there = cfg.trainer.devices, torch.cuda.device_count()
    try:
        numbers = CUDAAccelerator.parse_devices("-1" if asked == "auto" else asked) or []
    except (MisconfigurationException, TypeError, ValueError):
        numbers = []  # Lightning reports it when the Trainer is made
    # With torchrun, each process may see only one of the GPUs.
    return [torch.device("cuda", number) for number in numbers if number < there] or [torch.device("cuda", 0)]


def recorded_precision(checkpoint: str) -> str:
    """Return the precision of a checkpoint.

    Older checkpoints have no entry. They were trained in float32.

    Raises:
        UserError: the checkpoint cannot be read, or has an unknown precision.
    """
    found = load_checkpoint(checkpoint).get("precision", "32-true")
    if found not in PRECISIONS:
        raise UserError(f"{checkpoint} cannot be resumed from: its precision is {found!r}. {ADVICE}")
    return str(found)
