"""Optimisations change no numbers: each gives the loss curve of the plain implementation."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from hydra.utils import instantiate
from lightning import Callback
from omegaconf import DictConfig

from srgan_lightning.networks import Generator
from srgan_lightning.tools.benchmark.reference_step import ReferenceGenerator, ReferenceStep
from srgan_lightning.tools.benchmark.setup import build_module, load_batch, with_bare_step
from srgan_lightning.train import train
from srgan_lightning.training.build import build_data
from srgan_lightning.utils.errors import UserError
from tests.conftest import ALL_TERMS, TINY, TINY_FACES, TINY_SRGAN

Configure = Callable[..., DictConfig]
TRAINED = [*TINY_SRGAN, *TINY_FACES, *ALL_TERMS, "trainer.max_steps=4", "trainer.val_check_interval=2"]
SGD = "{_target_: torch.optim.SGD, _partial_: true, lr: 0.1}"
#: Options with which weights show the gradients; Adam's first steps would amplify rounding.
PLAIN_STEPS = [
    *(f"~model.{name}_optimizer" for name in ("generator", "discriminator")),
    *(f"+model.{name}_optimizer={SGD}" for name in ("generator", "discriminator")),
]


def curve(cfg: DictConfig, *callbacks: Callback) -> list[float]:
    """Train; return the losses of every step."""
    train(cfg, callbacks)
    rows = list(csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open()))
    return [float(row[f"loss/{name}"]) for row in rows for name in ("generator", "discriminator") if row["loss/pixel"]]


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_tail_before_the_shuffle_is_the_tail_after_it(scale: int) -> None:
    ours, plain = Generator(4, 1, scale), ReferenceGenerator(4, 1, scale)
    plain.load_state_dict(ours.state_dict())
    lr = torch.rand(2, 3, 7, 5)
    torch.testing.assert_close(ours(lr), plain(lr), atol=1e-5, rtol=1e-5)
    for network in (ours, plain):
        network(lr).square().sum().backward()
    for (name, a), b in zip(ours.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-3, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["srgan", "relativistic", "srresnet"])
def test_the_module_makes_the_reference_step(configure: Configure, stage: str) -> None:
    """With plain SGD, the weights after several steps show the gradients."""
    overrides = [*TRAINED, *PLAIN_STEPS]
    if stage == "relativistic":
        overrides.append("loss.adversarial_kind=relativistic")
    if stage == "srresnet":
        overrides = ["experiment=srresnet_celeba", "data=synthetic", *TINY, *TINY_FACES]
        overrides += ["~model.generator_optimizer", f"+model.generator_optimizer={SGD}"]
    cfg = configure(*overrides, "model.generator.global_skip=none")
    module, data = build_module(cfg), build_data(cfg)
    batch = load_batch(data)
    reference = ReferenceStep(module, data.degradation, torch.device("cpu"))

    def three_steps(step: Callable[[], None]) -> None:
        for _ in range(3):
            step()

    start = module.generator.head[0].weight.detach().clone()
    with_bare_step(cfg, module, data, three_steps)
    three_steps(lambda: reference.step(batch))
    assert not torch.equal(module.generator.head[0].weight, start)
    for network in ("generator",) if stage == "srresnet" else ("generator", "discriminator"):
        # Not the buffers: each of the textbook's two forwards moves the generator's running statistics.
        ours, plain = (dict(getattr(owner, network).named_parameters()) for owner in (module, reference))
        for name, value in ours.items():
            torch.testing.assert_close(
                value, plain[name], atol=2e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    "without",
    [
        ["model.channels_last=false"],
        ["model.generator_optimizer.fused=false", "model.discriminator_optimizer.fused=false"],
    ],
    ids=["channels_last", "fused"],
)
def test_a_saving_leaves_the_loss_curve_as_it_is(configure: Configure, without: list[str]) -> None:
    assert curve(configure(*TRAINED, run="with")) == pytest.approx(
        curve(configure(*TRAINED, *without, run="without")), rel=1e-3
    )


@pytest.mark.slow
def test_clipping_needs_gradients_that_are_not_scaled(configure: Configure) -> None:
    with pytest.raises(UserError, match=r"discriminator_optimizer\.fused=false"):
        train(configure(*TRAINED, "trainer.precision=16-mixed", "model.generator_clip=1"))


class _Graphs(Callback):
    """Return the number of compiled graphs after each step and each validation."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])

    def on_validation_end(self, *_: Any) -> None:
        self.counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@pytest.mark.slow
@pytest.mark.timeout(900)  # a C++ compiler on a busy machine
def test_compiled_networks_train_as_eager_ones_and_are_compiled_once(configure: Configure) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    graphs = _Graphs()
    # At ten times the rate, training is unstable: rounding in the first step becomes 13 % of the fourth loss.
    overrides = [
        *TRAINED,
        *PLAIN_STEPS,
        *(f"model.{name}_optimizer.lr=0.01" for name in ("generator", "discriminator")),
    ]
    eager = configure(*overrides, run="eager")
    plain = curve(eager)
    compiled = configure(*overrides, "model.compile=true", run="compiled")
    assert curve(compiled, graphs) == pytest.approx(plain, rel=1e-5)
    assert graphs.counts[0] >= 3  # generator, discriminator, VGG
    # Four steps; validations of another size after the second and the last, with the averaged weights.
    assert graphs.counts == [graphs.counts[0]] * 6
    states = [
        torch.load(Path(cfg.run_dir) / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for cfg in (eager, compiled)
    ]
    assert states[0].keys() == states[1].keys()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", ["true", "reduce-overhead"])
def test_compiled_bf16_trains_on_a_gpu(configure: Configure, mode: str) -> None:
    gpu = ["trainer=gpu", "trainer.accelerator=gpu", "trainer.precision=bf16-mixed"]
    eager = curve(configure(*TRAINED, *gpu, run="eager"))
    assert curve(configure(*TRAINED, *gpu, f"model.compile={mode}", run=mode)) == pytest.approx(eager, rel=0.1)


def test_an_unknown_compile_mode_is_reported(configure: Configure) -> None:
    cfg = configure(*TRAINED, "model.compile=fast")
    with pytest.raises(Exception, match="reduce-overhead"):
        instantiate(cfg.model, loss=instantiate(cfg.loss))


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "owner"), [("srgan", "model"), ("srresnet", "trainer")])
@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_cuda_graphs_refuse_accumulated_gradients(configure: Configure, stage: str, owner: str, mode: str) -> None:
    tiny = [*TINY, *TINY_FACES, "trainer.max_steps=1"]
    overrides = TRAINED if stage == "srgan" else ["experiment=srresnet_celeba", "data=synthetic", *tiny]
    cfg = configure(*overrides, f"model.compile={mode}", f"{owner}.accumulate_grad_batches=2")
    with pytest.raises(UserError, match=rf"model\.compile=true, or {owner}\.accumulate_grad_batches=1"):
        train(cfg)
    assert not (Path(cfg.run_dir) / "checkpoints").exists()
