"""Make and check learning rate schedules, and apply options that a resumed run changes."""

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
        factory: the configured class with its options.
        optimizer: the optimiser whose learning rate the schedule sets.
        name: name of the option, for error messages.

    Raises:
        UserError: a cosine has no number of updates, as with `trainer.max_steps=-1`; the schedule needs a score; or the
            class does not have these options.
    """
    try:
        scheduler = factory(optimizer)
    except TypeError as error:
        raise UserError(
            f"{name}: {error}. If only the class is changed, options of the previous schedule remain: replace the "
            f"whole schedule with scheduler@{name}=OPTION or with ~{name} '+{name}={{...}}'."
        ) from error
    if isinstance(scheduler, ReduceLROnPlateau):
        raise UserError(
            f"{name}: ReduceLROnPlateau needs a score, but schedules are stepped once per generator update, without "
            f"one. Use scheduler@{name}=cosine, or another of torch.optim.lr_scheduler."
        )
    if getattr(scheduler, "T_max", 1) < 1:
        raise UserError(
            f"{name}.T_max={scheduler.T_max}: a cosine needs the number of generator updates that it "  # type: ignore[attr-defined]
            f"spans. Set trainer.max_steps or {name}.T_max, or use ~{name} for a constant rate."
        )
    return scheduler


def reapply_scheduler_options(scheduler: LRScheduler, configured: dict[str, Any], updates: int) -> None:
    """Rebuild a schedule if its class or its options differ from those of the checkpoint, or if that had no schedule.

    Most schedules compute each rate from the previous one. So the schedule is stepped again from the first update to
    the current one, starting with the initial rate of the checkpoint.

    Args:
        scheduler: the schedule after Lightning restored its state.
        configured: the schedule's state before Lightning restored it, as configured.
        updates: number of generator updates so far.
    """
    restored, optimizer = scheduler.state_dict(), scheduler.optimizer
    options = inspect.signature(type(scheduler)).parameters.keys() & configured.keys() - {"last_epoch"}
    others = restored.keys() - configured.keys()  # from a schedule of another class
    unchanged = not others and all(restored.get(option) == configured[option] for option in options)
    if unchanged and restored["last_epoch"] == updates:
        return
    for name in others:
        delattr(scheduler, name)
    if restored["last_epoch"] == 0:  # Lightning restored nothing
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        restored["base_lrs"] = [group["initial_lr"] for group in optimizer.param_groups]
    kept = {"base_lrs": restored["base_lrs"], "_step_count": updates + 1}
    scheduler.load_state_dict({**copy.deepcopy(configured), **kept})
    starts = zip(configured["_last_lr"], configured["base_lrs"], kept["base_lrs"], strict=True)
    for group, (first, base, restored_base) in zip(optimizer.param_groups, starts, strict=True):
        group["lr"] = first if base == restored_base else first / base * restored_base
    for _ in range(updates):
        scheduler.step()
