"""Schedules of learning rates: checked when they are made, and followed anew where a resumed run changes them."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from srgan_lightning.utils.errors import UserError

SchedulerFactory = Callable[[Optimizer], LRScheduler]


def make_schedule(factory: SchedulerFactory, optimizer: Optimizer, name: str) -> LRScheduler:
    """Make a schedule that is stepped once per generator update.

    Args:
        factory: the configured class, with its options.
        optimizer: whose rate it sets.
        name: of the option, for messages.

    Raises:
        UserError: a cosine over no number of updates, as of `trainer.max_steps=-1`, a schedule that needs a score, or
            options that its class does not take.
    """
    try:
        scheduler = factory(optimizer)
    except TypeError as error:
        raise UserError(
            f"{name}: {error}. Options of the schedule that was chosen before stay when its class is changed: "
            f"replace it whole, by scheduler@{name}=OPTION or by ~{name} '+{name}={{...}}'."
        ) from error
    if isinstance(scheduler, ReduceLROnPlateau):
        raise UserError(
            f"{name}: ReduceLROnPlateau waits for a score, but schedules are stepped once per generator update, "
            f"without one. Choose scheduler@{name}=cosine, or another of torch.optim.lr_scheduler."
        )
    if getattr(scheduler, "T_max", 1) < 1:
        raise UserError(
            f"{name}.T_max={scheduler.T_max}: a cosine needs the number of generator updates that it "  # type: ignore[attr-defined]
            f"spans. Set trainer.max_steps or {name}.T_max, or take ~{name} for a constant rate."
        )
    return scheduler


def reapply_scheduler_options(scheduler: LRScheduler, configured: dict[str, Any]) -> None:
    """Go by the configured options where those of the checkpoint, which Lightning has restored, were others.

    A schedule computes each rate from the one before, so it is stepped anew from its first update to the present one;
    the rate that it started from stays the checkpoint's.

    Args:
        scheduler: restored.
        configured: its state when it was made.
    """
    restored = scheduler.state_dict()
    options = inspect.signature(type(scheduler)).parameters.keys() & configured.keys() - {"last_epoch"}
    if all(restored.get(option) == configured[option] for option in options):
        return
    kept = {key: restored[key] for key in ("base_lrs", "_step_count")}
    scheduler.load_state_dict({**copy.deepcopy(configured), **kept})
    starts = zip(configured["_last_lr"], configured["base_lrs"], kept["base_lrs"], strict=True)
    for group, (first, base, restored_base) in zip(scheduler.optimizer.param_groups, starts, strict=True):
        group["lr"] = first if base == restored_base else first / base * restored_base
    for _ in range(restored["last_epoch"]):
        scheduler.step()
