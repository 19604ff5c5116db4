"""ModelCheckpoint for runs that are resumed in place."""

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from srgan_lightning.atomic import write_atomically


class RunCheckpoint(ModelCheckpoint):
    """A `ModelCheckpoint` whose files and best score are right after a kill, and in a directory that was moved."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the newest checkpoint where a kill came between it and the best, which is written before it.

        The resumed run goes on from the best one then. Where that is the end of the run, no validation follows.
        """
        if self.monitor is not None or trainer.ckpt_path is None or not trainer.is_global_zero:
            return
        resumed = Path(trainer.ckpt_path)
        newest = Path(str(self.dirpath)) / f"{self.filename}.ckpt"
        if resumed.resolve().parent == newest.resolve().parent and _changed(resumed) > _changed(newest):
            write_atomically(newest, resumed.read_bytes())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning compares absolute paths, which a move changes."""
        best = Path(str(self.dirpath)) / Path(state_dict["best_model_path"]).name
        if best.is_file():
            state_dict = {**state_dict, "dirpath": self.dirpath, "best_model_path": str(best)}
            for key in ("kth_best_model_path", "last_model_path"):
                state_dict[key] = state_dict[key] and str(best.with_name(Path(state_dict[key]).name))
            state_dict["best_k_models"] = {
                str(best.with_name(Path(path).name)): score for path, score in state_dict["best_k_models"].items()
            }
        super().load_state_dict(state_dict)


def _changed(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 if it never was."""
    return path.stat().st_mtime_ns if path.exists() else 0
