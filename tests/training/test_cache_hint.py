"""A run that waits for repeated decoding suggests the cache, once."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from omegaconf import DictConfig

from srgan_lightning.data.folder import PairedData
from srgan_lightning.data.streaming import StreamingData
from srgan_lightning.data.synthetic.datamodule import SyntheticData
from srgan_lightning.training.build import build_model
from srgan_lightning.training.callbacks import cache_hint
from srgan_lightning.training.callbacks.cache_hint import MEASURED, WARMUP, CacheHint, epochs_left
from tests.conftest import TINY, TINY_SRGAN

MANY = {"max_steps": 1000, "max_epochs": -1, "num_training_batches": 10, "global_step": 60, "current_epoch": 6}
SRRESNET, SRGAN = ["experiment=paper_srresnet", *TINY], ["experiment=quickstart", *TINY_SRGAN]
MODULE = cast(Any, SimpleNamespace(updates_per_epoch=10))


def trainer_of(data: Any, **facts: Any) -> Any:
    return SimpleNamespace(datamodule=data, **{"is_global_zero": True, **MANY, **facts})


def train(monkeypatch: pytest.MonkeyPatch, trainer: Any, wait: float, work: float, validate: int = 7) -> None:
    """Run two hundred batches with a simulated clock, and validations of a minute."""
    now = 0.0
    monkeypatch.setattr(cache_hint, "time", SimpleNamespace(perf_counter=lambda: now))
    hint = CacheHint()
    for batch in range(200):
        now += 100 * wait if batch < WARMUP else wait  # workers start
        hint.on_train_batch_start(trainer, MODULE, None, batch)
        now += work
        hint.on_train_batch_end(trainer, MODULE, None, None, batch)
        if batch % validate == 0:
            hint.on_validation_start(trainer, MODULE)
            now += 60


@pytest.mark.parametrize(
    ("wait", "work", "facts", "told"),
    [
        (0.3, 0.7, {}, True),
        (0.3, 0.7, {"max_steps": 109, "repeats": 2}, True),  # less than five epochs, of two passes each
        (0.1, 0.9, {}, False),  # half of the limit
        (0.3, 0.7, {"max_steps": 109}, False),  # less than five epochs
        (0.3, 0.7, {"max_steps": -1}, True),
        (0.3, 0.7, {"max_steps": -1, "max_epochs": 8}, False),
        (0.3, 0.7, {"is_global_zero": False}, False),
    ],
)
def test_a_run_that_waits_for_data_gets_the_hint(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wait: float,
    work: float,
    facts: dict[str, Any],
    told: bool,
) -> None:
    data = SimpleNamespace(cacheable=True, cache=None, repeats=facts.pop("repeats", 1))
    train(monkeypatch, trainer_of(data, **facts), wait, work)
    said = capsys.readouterr().out
    assert said.count("Waiting for data takes 30% of the time") == (1 if told else 0)
    assert ("data.cache=memmap" in said) == told
    assert said.count("\n") == (1 if told else 0)  # once


@pytest.mark.parametrize(
    "data", [None, SimpleNamespace(cacheable=True, cache="memmap"), SimpleNamespace(cacheable=False)]
)
def test_a_run_with_a_cache_or_without_the_option_gets_no_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Any
) -> None:
    train(monkeypatch, trainer_of(data), 1.0, 1.0)
    assert capsys.readouterr().out == ""


def test_every_module_adds_the_hint(configure: Callable[..., DictConfig]) -> None:
    assert SyntheticData.cacheable
    assert not PairedData.cacheable
    assert not StreamingData.cacheable
    module = build_model(configure("experiment=quickstart", *TINY_SRGAN))
    assert any(isinstance(callback, CacheHint) for callback in module.configure_callbacks())
    assert WARMUP + MEASURED < 100


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        (SRRESNET, 940 / 10),
        # In stage one, Lightning also updates after the last batch of an epoch: batches 4, 8 and 10.
        ([*SRRESNET, "trainer.accumulate_grad_batches=4"], 940 / 3),
        # In stage two, an update may span two epochs.
        ([*SRGAN, "model.accumulate_grad_batches=4"], 4 * 940 / 10),
        ([*SRGAN, "model.discriminator_updates=3", "model.accumulate_grad_batches=2"], 3 * 2 * 940 / 10),
        ([*SRGAN, "model.discriminator_interval=2"], 940 / 10),
    ],
)
def test_epochs_are_counted_in_batches(configure: Callable[..., DictConfig], options: list[str], epochs: float) -> None:
    cfg = configure(*options)
    module: Any = build_model(cfg)
    module.trainer = trainer_of(None, accumulate_grad_batches=cfg.trainer.accumulate_grad_batches)
    assert epochs_left(module.trainer, module) == pytest.approx(epochs)
