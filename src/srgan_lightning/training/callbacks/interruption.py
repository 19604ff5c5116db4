"""SIGTERM, Ctrl-C and SLURM's SIGUSR1: a checkpoint, and a clean end."""

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

NOTICE = b"\nStopping: this update is finished and a checkpoint is written. Ctrl-C once more ends at once.\n"

AGREE_EVERY = 10  # batches: several GPUs wait for each other to learn of a signal


class Stopped(Exception):  # noqa: N818  # nothing is wrong
    """Leaves a validation that was cut short."""


class Interruption(Checkpoint):  # Lightning calls checkpoint callbacks last: all others have seen the batch then
    """Finish the current update, write a checkpoint and end the run, when any process receives a stop signal.

    A validation is not waited for: it is cut short, or not begun, and the resumed run makes up for it. At the last
    update of a run nothing is left to stop, and it ends as it would.

    A new run's first validation has a checkpoint before it too: what it takes of memory may end the process. The
    resumed run makes up for it. Where nothing is left to train, so does a run whose directory holds no scores yet.

    Args:
        path: the checkpoint.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.signal: signal.Signals | None = None  # received by this process
        self.stopped = False
        self.validation_due = False
        self.saved = False
        self.started = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loop, scored = trainer.fit_loop, any(getattr(c, "best_model_path", "") for c in trainer.checkpoint_callbacks)
        run = loop.run

        def run_or_validate() -> None:
            run()
            if not self.started and (self.validation_due or not scored):  # Lightning found nothing left to train
                self.validation_due = True
                loop.on_run_start()
                loop.on_run_end()

        loop.run = run_or_validate  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = True
        # In place of Lightning's handlers, which talk to other processes and save in the midst of an update. It puts
        # the handlers of before back when `fit` ends.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._note)
        # Lightning's own agreement, before every batch of several processes, is on the handlers replaced here.
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
        if trainer.should_stop:  # all processes know this one alike
            return False
        return trainer.strategy.reduce_boolean_decision(self.signal is not None, all=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
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
            self.validation_due = False  # it follows now
            return
        self.stopped = trainer.should_stop = True
        trainer.limit_val_batches = 0  # or Lightning would validate before it stops

    def _save(self, trainer: Trainer) -> None:
        """Write the checkpoint of a batch that has ended."""
        # Or Lightning would take the batch for an unfinished one.
        with lightning_internals.batch_counted(trainer, self.validation_due):
            trainer.save_checkpoint(self.path)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        if trainer.state.fn == TrainerFn.FITTING and self._should_stop(trainer):
            raise Stopped

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, Stopped):  # the other callbacks have undone by now what they do for a validation
            trainer.fit_loop.epoch_loop.val_loop.batch_progress.reset()
            self.stopped = self.validation_due = True
            trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"validation_due": self.validation_due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.validation_due = state_dict["validation_due"]

    def exit_code(self) -> int:
        """128 + the signal's number, as of a program that it ended; asks SLURM to run the job again after SIGUSR1."""
        number = self.signal or signal.SIGTERM
        if number == signal.SIGUSR1 and "SLURM_JOB_ID" in os.environ:
            subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False)
        return 128 + number
