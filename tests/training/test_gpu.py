"""The main checks of a training on a GPU; each part also has a test on the CPU."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from omegaconf import DictConfig
from torch._dynamo.utils import counters

from srgan_lightning.train import train
from tests.conftest import ALL_TERMS, TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.spy import Spy
from tests.helpers.stops import SRGAN, configuration, stopped

Configure = Callable[..., DictConfig]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GPU = ["trainer.accelerator=gpu", "trainer.log_every_n_steps=50"]
SGD = "{_target_: torch.optim.SGD, _partial_: true, lr: 0.01}"
#: Plain SGD for both networks. Adam's first steps are as large for gradients that are only rounding errors.
PLAIN = [
    f"{sign}model.{name}_optimizer{value}"
    for name in ("generator", "discriminator")
    for sign, value in (("~", ""), ("+", f"={SGD}"))
]
STAGES = {
    "srgan": ["experiment=quickstart", *TINY_SRGAN, *ALL_TERMS, *TINY_FACES],
    "srresnet": ["experiment=srresnet_celeba", "data=synthetic", *TINY, *TINY_FACES],
}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed", "auto"])
@pytest.mark.parametrize("stage", [*STAGES])
def test_both_stages_train_in_every_precision(configure: Configure, stage: str, precision: str) -> None:
    spy = Spy()
    cfg = configure(*STAGES[stage], *GPU, f"trainer.precision={precision}", "trainer.max_steps=4")
    summary = train(cfg, [spy])
    assert summary["steps"] == 4
    assert all(loss == loss and abs(loss) < 1e3 for loss in spy.losses)
    state = torch.load(Path(cfg.run_dir) / "checkpoints/last.ckpt", weights_only=True)
    floats = [t for part in ("state_dict", "generator_ema") for t in state[part].values() if t.is_floating_point()]
    assert {t.dtype for t in floats} == {torch.float32}
    assert all(t.isfinite().all() for t in floats)
    if precision == "16-mixed":  # whose first steps search for the loss scale
        assert spy.skipped < 4
    else:
        weight = state["state_dict"]["generator.head.0.weight"].cpu()
        assert not torch.equal(weight, spy.start["generator.head.0.weight"].cpu())


def test_the_moving_average_follows_the_weights(configure: Configure) -> None:
    """With a decay of 0, EMA equals the weights."""
    cfg = configure(*STAGES["srgan"], *GPU, "callbacks.ema.decay=0", "trainer.max_steps=3")
    train(cfg)
    state = torch.load(Path(cfg.run_dir) / "checkpoints/last.ckpt", weights_only=True, map_location="cpu")
    for name, mean in state["generator_ema"].items():
        torch.testing.assert_close(
            mean, state["state_dict"][f"generator.{name}"], msg=lambda text, name=name: name + text
        )


def test_a_resumed_run_stays_close_to_the_uninterrupted_one(tmp_path: Path) -> None:
    """Equal only approximately, because sums on a GPU depend on the order of threads."""
    words = [*SRGAN, *GPU, *PLAIN, "trainer.benchmark=false", "trainer.max_steps=3", "trainer.val_check_interval=3"]
    spy = Spy()
    whole, parts = tmp_path / "whole/0", tmp_path / "parts/0"
    train(configuration(whole, words), [spy])
    stopped(parts, words, 5)  # within an update, with accumulated gradients
    summary = train(configuration(parts, words, ckpt_path="last"))
    assert summary["steps"] == 3
    one, two = (
        torch.load(run / "checkpoints/last.ckpt", weights_only=True, map_location="cpu") for run in (whole, parts)
    )
    assert one["state_dict"].keys() == two["state_dict"].keys()
    for name, value in one["state_dict"].items():
        apart = (two["state_dict"][name].double() - value.double()).norm()
        moved = (spy.start[name].cpu().double() - value.double()).norm() if name in spy.start else value.double().norm()
        assert apart <= 0.05 * moved, name


class Syncs(Callback):
    """Count how often the host waits for the GPU in each step, by PyTorch's warnings."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.catcher: Any = None
        self.seen: list[warnings.WarningMessage] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.catcher = warnings.catch_warnings(record=True)
        self.seen = self.catcher.__enter__()
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")

    def on_train_batch_end(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")
        self.counts.append(sum("synchroniz" in str(warning.message) for warning in self.seen))
        self.catcher.__exit__(None, None, None)


@pytest.mark.parametrize("stage", [*STAGES])
def test_most_steps_wait_for_the_gpu_once_at_most_for_each_network(configure: Configure, stage: str) -> None:
    """One wait checks that gradients are finite. Health waits at its interval, and logging when it logs."""
    syncs = Syncs()
    steps = ["trainer.precision=bf16-mixed", "trainer.max_steps=8", "trainer.limit_val_batches=0"]
    train(configure(*STAGES[stage], *GPU, *steps, "callbacks.health.interval=100"), [syncs])
    assert len(syncs.counts) == 8
    assert 1 <= max(syncs.counts[2:-1]) <= 2, syncs.counts  # cuDNN chooses algorithms in the first steps


@pytest.mark.parametrize("mode", ["true", "reduce-overhead"])
def test_a_compiled_network_trains_as_an_eager_one(configure: Configure, mode: str) -> None:
    """Use float32 and plain SGD, so that only rounding differs."""
    torch._dynamo.reset()
    counters.clear()
    losses = {}
    for way in ("false", mode):
        assert not counters["stats"]["unique_graphs"]
        spy = Spy()
        words = [*STAGES["srgan"], *GPU, *PLAIN, "trainer.max_steps=4", f"model.compile={way}"]
        train(configure(*words, run=f"run_{way}"), [spy])
        losses[way] = spy.losses
    assert losses[mode] == pytest.approx(losses["false"], rel=1e-2)
    assert counters["stats"]["unique_graphs"] >= 3  # generator, discriminator and VGG
    assert not counters["inductor"]["cudagraph_skips"]
