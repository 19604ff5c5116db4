"""Score the initial weights of a fine-tuning."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from srgan_lightning.training.validation import validate_now


# A Checkpoint, because Lightning calls these last. `Interruption` has then set the signal handlers that a signal during
# this validation needs.
class InitialValidation(Checkpoint):
    """A callback that validates before the first update if `model.init_from` is set, to show the gain of the training.

    The scores are logged at update 0, and `summary.json` has them as `start_psnr_y`, `start_ssim_y`, ...
    """

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.pretrained and trainer.ckpt_path is None:
            validate_now(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0 and not trainer.sanity_checking:
            metrics = trainer.callback_metrics
            self.scores = {key[4:]: float(value) for key, value in metrics.items() if key.startswith("val/")}

    def state_dict(self) -> dict[str, Any]:
        return {"scores": self.scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.scores = dict(state_dict["scores"])
