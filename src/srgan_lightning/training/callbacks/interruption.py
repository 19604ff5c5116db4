"""Save a checkpoint and stop cleanly on SIGTERM, Ctrl-C and SLURM's SIGUSR1."""

import os
import signal
import subprocess
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from srgan_lightning.training import lightning_internals
from srgan_lightning.training.validation import validate_now

NOTICE = b"\nStopping after this update, with a checkpoint. Press Ctrl-C again to stop at once.\n"

AGREE_EVERY = 10  # batches between checks for a signal on several GPUs, which wait for each other at every check


class Stopped(Exception):  # noqa: N818  # not an error
    """Raised to interrupt a validation."""


class Interruption(Checkpoint):  # Lightning calls Checkpoint callbacks after all others
    """A callback that saves a checkpoint and stops after the current batch, when any process gets a stop signal.

    On several GPUs it stops up to ten batches later.

    A validation is interrupted or skipped, and the resumed run does it first. At the last update of a run a signal
    changes nothing: the run ends normally.

    A checkpoint is also saved before the first validation of a new run, because this validation may run out of memory
    and kill the process. The resumed run then does this validation first. A resumed run that has no scores is also
    validated if there is nothing left to train.

    Args:
        path: file of the checkpoint.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.signal: signal.Signals | None = None  # the stop signal that this process received
        self.stopped = False
        self.validation_due = False
        self.saved = False
        self.started = False
        self.trained = False  # whether a batch was trained since the last check

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loop, scored = trainer.fit_loop, any(getattr(c, "best_model_path", "") for c in trainer.checkpoint_callbacks)
        run = loop.run

        def run_or_validate() -> None:
            run()
            if not self.started and (self.validation_due or not scored):  # nothing was left to train
                self.validation_due = True
                loop.on_run_start()
                loop.on_run_end()

        loop.run = run_or_validate  # type: ignore[method-assign]
        # A checkpoint counts its last batch as done, so the resumed run does not log this batch. So save after logging.
        lightning_internals.call_after_logging(trainer, lambda: self._after_batch(trainer))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = True
        # Replace Lightning's handlers, which communicate with other processes and save within an update. Lightning
        # restores the original handlers when `fit` ends.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._note)
        # Lightning synchronises all processes before every batch, which only the replaced handlers need.
        lightning_internals.leave_out_sigterm_broadcast(trainer)
        if self.validation_due:
            self.validation_due = False
            validate_now(trainer)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        if number == signal.SIGINT:
            os.write(2, NOTICE)
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def _should_stop(self, trainer: Trainer) -> bool:
        if trainer.should_stop:  # this value is the same in all processes
            return False
        return trainer.strategy.reduce_boolean_decision(self.signal is not None, all=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.trained = True

    def _after_batch(self, trainer: Trainer) -> None:
        """Save a checkpoint if a signal came, or before a new run's first validation."""
        if not self.trained:  # Lightning resumes with a step that has no batch
            return
        self.trained = False
        several_gpus = trainer.world_size > 1 and trainer.strategy.root_device.type == "cuda"
        agree = not several_gpus or (trainer.fit_loop.total_batch_idx + 1) % AGREE_EVERY == 0
        stop = agree and self._should_stop(trainer)
        due = lightning_internals.validation_follows(trainer)
        if not stop and not (due and trainer.ckpt_path is None and not self.saved):
            return
        self.saved = True
        self.validation_due = due
        self._save(trainer)
        if not stop:
            self.validation_due = False  # this run does the validation next
            return
        self.stopped = trainer.should_stop = True
        trainer.limit_val_batches = 0  # otherwise Lightning would validate before it stops

    def _save(self, trainer: Trainer) -> None:
        """Save a checkpoint after a finished batch."""
        with lightning_internals.batch_counted(trainer, self.validation_due):
            trainer.save_checkpoint(self.path)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        if trainer.state.fn == TrainerFn.FITTING and self._should_stop(trainer):
            raise Stopped

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, Stopped):  # other callbacks, such as the EMA, have restored their state by now
            trainer.fit_loop.epoch_loop.val_loop.batch_progress.reset()
            self.stopped = self.validation_due = True
            trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"validation_due": self.validation_due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.validation_due = state_dict["validation_due"]

    def exit_code(self) -> int:
        """Return 128 + the signal's number; after SIGUSR1 ask SLURM to requeue the job."""
        number = self.signal or signal.SIGTERM
        if number == signal.SIGUSR1 and "SLURM_JOB_ID" in os.environ:
            subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False)
        return 128 + number
