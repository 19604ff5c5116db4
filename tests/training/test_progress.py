"""The progress bar of a run."""

from functools import partial
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer

from srgan_lightning.losses import GeneratorLoss
from srgan_lightning.networks import Generator
from srgan_lightning.train import train
from srgan_lightning.training import SRResNet
from srgan_lightning.training.callbacks import RunProgress
from tests.conftest import TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.stops import configuration

BAR = "+callbacks.progress_bar={_target_: srgan_lightning.training.callbacks.RunProgress}"
EPOCHS = ["trainer.max_steps=-1", "trainer.max_epochs=3", "trainer.val_check_interval=4", BAR]


def test_epochs_of_unknown_length_have_no_total() -> None:
    """A loader without a length has infinitely many batches, and rich cannot show an infinite total."""
    module = SRResNet(Generator(4, 0), GeneratorLoss(1, 0, 0), partial(torch.optim.SGD, lr=0.1))
    trainer = Trainer(accelerator="cpu", max_epochs=2, accumulate_grad_batches=2, logger=False, barebones=True)
    trainer.fit_loop.max_batches = float("inf")
    module.trainer = trainer
    progress = RunProgress()
    progress.on_train_start(trainer, module)
    progress.bar.stop()
    assert progress.bar.tasks[0].total is None


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
