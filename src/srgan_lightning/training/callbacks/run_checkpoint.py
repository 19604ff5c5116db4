"""A ModelCheckpoint for runs that are resumed in place."""

from pathlib import Path, PurePath
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from srgan_lightning.runs.checkpoint_io import Progress, verify_checkpoint
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.files import write_atomically


class RunCheckpoint(ModelCheckpoint):
    """A `ModelCheckpoint` whose files and best score stay correct if a run is killed or its directory is moved."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the file of the newest checkpoint if it has less progress than the one the run is resumed from.

        The file becomes a copy of the one the run is resumed from, if both are in the same directory. Only the callback
        without `monitor` does this.

        A run can be killed after a validation has written the best checkpoint, but before it writes the newest one. The
        run is then resumed from the best one. If that is from the last update of the training, no further validation
        would write the newest one.
        """
        if self.monitor is not None or trainer.ckpt_path is None or not trainer.is_global_zero:
            return
        resumed = Path(trainer.ckpt_path)
        newest = Path(str(self.dirpath)) / f"{self.filename}.ckpt"
        if resumed.resolve().parent == newest.resolve().parent and _reached(resumed) > _reached(newest):
            write_atomically(newest, resumed.read_bytes())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the scores of the checkpoints in this run's directory.

        Lightning stores a path with each score, and may delete the file there. A path from a checkpoint may lead
        anywhere, so only its file name is used.
        """
        own = {path.name: str(path) for path in Path(str(self.dirpath)).glob("*.ckpt") if not path.is_symlink()}

        def here(path: str) -> str:
            return own.get(PurePath(path).name, "")

        self.best_model_path = here(state_dict["best_model_path"])
        self.last_model_path = here(state_dict["last_model_path"])
        named = {here(path): torch.as_tensor(score) for path, score in state_dict["best_k_models"].items()}
        scores = {path: score.reshape(()) for path, score in named.items() if path}
        if scores:
            ranked = sorted(scores, key=lambda path: float(scores[path]), reverse=self.mode == "max")
            self.best_k_models = scores
            self.best_model_path, self.kth_best_model_path = ranked[0], ranked[-1]
            self.best_model_score, self.kth_value = scores[ranked[0]], scores[ranked[-1]]


def _reached(path: Path) -> Progress:
    try:
        return verify_checkpoint(path)
    except UserError:
        return Progress(-1, -1)
