"""ModelCheckpoint for runs that are resumed in place."""

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class RunCheckpoint(ModelCheckpoint):
    """Remembers the best score in a run directory that was moved, too; Lightning compares absolute paths."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        best = Path(str(self.dirpath)) / Path(state_dict["best_model_path"]).name
        if best.is_file():
            state_dict = {**state_dict, "dirpath": self.dirpath, "best_model_path": str(best)}
            for key in ("kth_best_model_path", "last_model_path"):
                state_dict[key] = state_dict[key] and str(best.with_name(Path(state_dict[key]).name))
            state_dict["best_k_models"] = {
                str(best.with_name(Path(path).name)): score for path, score in state_dict["best_k_models"].items()
            }
        super().load_state_dict(state_dict)
