"""All uses of private attributes of the Trainer and its loops, so that an upgrade of Lightning changes one file.

There is one function per use. `tests/training/test_lightning_internals.py` checks that each attribute exists.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning import Trainer


def accumulates(trainer: Trainer) -> bool:
    """Check whether gradients are accumulating; only for automatic optimisation."""
    return trainer.fit_loop._should_accumulate()


def restart_batches(trainer: Trainer) -> None:
    """Restart the batches of the epoch.

    Otherwise Lightning 2.6 continues with the iterator and the batch count of an epoch that has ended.
    """
    iter(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]


def logs_this_step(trainer: Trainer) -> bool:
    """Check whether the values of the current step are logged."""
    return bool(trainer._logger_connector.should_update_logs or trainer.fast_dev_run)  # type: ignore[attr-defined]


def validation_follows(trainer: Trainer) -> bool:
    """Check whether a validation follows the current batch."""
    return trainer.fit_loop.epoch_loop._should_check_val_fx(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]


def leave_out_sigterm_broadcast(trainer: Trainer) -> None:
    """Stop Lightning from broadcasting, before every batch, whether rank zero received SIGTERM."""
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


def call_after_logging(trainer: Trainer, function: Callable[[], None]) -> None:
    """Call a function after each batch: after its values are logged, and before a validation that may follow."""
    loop = trainer.fit_loop.epoch_loop
    on_advance_end = loop.on_advance_end

    def call_before(data_fetcher: Any) -> None:
        function()
        on_advance_end(data_fetcher)

    loop.on_advance_end = call_before  # type: ignore[method-assign]


@contextmanager
def batch_counted(trainer: Trainer, validation_due: bool) -> Iterator[None]:
    """Inside the `with`, add the current batch to the step number of the logs, so that a checkpoint saved there has it.

    Lightning counts it later, after a validation that may follow. If a validation is due, the resumed run counts it.
    """
    loop = trainer.fit_loop.epoch_loop
    logged = not validation_due and not loop._should_accumulate()
    loop._batches_that_stepped += logged
    yield
    loop._batches_that_stepped -= logged


def forget_validation(trainer: Trainer) -> None:
    """Reset the flag of a finished validation.

    Otherwise a run that is resumed at the end of an epoch loops through empty epochs.
    """
    trainer.fit_loop.epoch_loop.val_loop._has_run = False
