"""The progress bar of a run."""

from typing import Any

import pytest
from lightning import Callback, Trainer

from srgan_lightning.train import train
from srgan_lightning.training.callbacks import RunProgress
from tests.conftest import TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.stops import configuration

BAR = "+callbacks.progress_bar={_target_: srgan_lightning.training.callbacks.RunProgress}"
EPOCHS = ["trainer.max_steps=-1", "trainer.max_epochs=3", "trainer.val_check_interval=4", BAR]


class Bar(Callback):
    """Read the bar's counts at the end of training."""

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        progress = next(callback for callback in trainer.callbacks if isinstance(callback, RunProgress))  # type: ignore[attr-defined]
        task = progress.bar.tasks[0]
        self.counts = (task.completed, task.total)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=quickstart", *TINY_SRGAN, "model.accumulate_grad_batches=2", "~model.generator_scheduler"],
        ["experiment=srresnet_celeba", "data=synthetic", *TINY, "trainer.accumulate_grad_batches=2"],
    ],
)
def test_a_run_of_epochs_fills_its_bar(tmp_path: Any, overrides: list[str]) -> None:
    bar = Bar()
    train(configuration(tmp_path / "run", [*overrides, *TINY_FACES, *EPOCHS]), [bar])
    assert bar.counts == (6, 6)  # 4 batches an epoch, 2 for each update
