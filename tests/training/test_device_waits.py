"""The number of times a training step waits for its device, counted on the CPU by the operations that would wait."""

import traceback
from collections.abc import Callable
from typing import Any

import pytest
from lightning import Callback
from omegaconf import DictConfig
from torch.utils._python_dispatch import TorchDispatchMode

from srgan_lightning.train import train
from tests.conftest import ALL_TERMS, TINY, TINY_FACES, TINY_SRGAN

WAITING = {f"aten::{name}" for name in ("_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero")}


class Waits(TorchDispatchMode, Callback):
    """Count the reads of tensor values by batch, from the start of one batch to the start of the next.

    Reads by the data module do not count, because they are on the CPU, before the batch is sent to the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.counts and func.name() in WAITING:
            names = {frame.name for frame in traceback.extract_stack()}
            self.counts[-1] += "on_before_batch_transfer" not in names
        return func(*args, **(kwargs or {}))

    def on_train_start(self, *_: Any) -> None:
        self.__enter__()

    def on_train_batch_start(self, *_: Any) -> None:
        self.counts.append(0)

    def on_train_end(self, *_: Any) -> None:
        self.__exit__(None, None, None)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["srgan", "srresnet"])
def test_most_steps_wait_for_the_device_once_to_see_that_gradients_are_finite(
    configure: Callable[..., DictConfig], stage: str
) -> None:
    overrides = ["experiment=quickstart", *TINY_SRGAN, *ALL_TERMS]
    if stage == "srresnet":
        overrides = ["experiment=srresnet_celeba", "data=synthetic", *TINY]
    waits = Waits()
    steps = ["trainer.max_steps=9", "trainer.log_every_n_steps=4", "trainer.limit_val_batches=0"]
    train(configure(*overrides, *TINY_FACES, "data.train_images=20", *steps), [waits])
    assert len(waits.counts) == 9
    quiet = [count for batch, count in enumerate(waits.counts[:-1], start=1) if batch % 4]
    # The last batch saves a checkpoint too.
    assert quiet == [1] * len(quiet)
