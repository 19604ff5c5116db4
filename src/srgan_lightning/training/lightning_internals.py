"""The private attributes of Lightning that training uses, so that an upgrade of Lightning changes one file.

One function per use. `tests/training/test_lightning_internals.py` checks that each attribute exists.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from lightning import Trainer


def accumulates(trainer: Trainer) -> bool:
    """Whether gradients wait for more batches, in automatic optimisation."""
    return trainer.fit_loop._should_accumulate()


def restart_batches(trainer: Trainer) -> None:
    """Begin the epoch's batches anew: after an epoch's end, Lightning 2.6 resumes that epoch's iterator and count."""
    iter(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]


def logs_this_step(trainer: Trainer) -> bool:
    """Whether the loggers get the values of the step at hand."""
    return bool(trainer._logger_connector.should_update_logs or trainer.fast_dev_run)  # type: ignore[attr-defined]


def validation_follows(trainer: Trainer) -> bool:
    """Whether a validation follows the batch at hand."""
    return trainer.fit_loop.epoch_loop._should_check_val_fx(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]


def leave_out_sigterm_broadcast(trainer: Trainer) -> None:
    """Keep Lightning from agreeing on SIGTERM before every batch of several processes."""
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


@contextmanager
def batch_counted(trainer: Trainer, validation_due: bool) -> Iterator[None]:
    """Inside, count the batch at hand as completed, as Lightning does right after its callbacks."""
    loop = trainer.fit_loop.epoch_loop
    progress = loop.batch_progress
    logged = not validation_due and not loop._should_accumulate()
    progress.increment_completed()
    loop._batches_that_stepped += logged
    yield
    loop._batches_that_stepped -= logged
    for count in (progress.total, progress.current):
        count.completed -= 1


def forget_validation(trainer: Trainer) -> None:
    """Forget the validation that has run, or Lightning goes round in empty epochs after an epoch's end."""
    trainer.fit_loop.epoch_loop.val_loop._has_run = False
