"""What keeps the code easy to take over."""

import inspect

from srgan_lightning.training.run import train


def test_train_is_one_screen() -> None:
    assert len(inspect.getsource(train).splitlines()) <= 45
