"""The training recipe: gradients reach all weights, weights move, counters count, and runs resume."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from hydra.utils import instantiate
from lightning import Callback
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from srgan_lightning.artifacts.artifact import read_artifact, read_checkpoint
from srgan_lightning.losses import GeneratorLoss
from srgan_lightning.networks import Discriminator, Generator
from srgan_lightning.train import train
from srgan_lightning.training import SRGAN, SRResNet
from tests.conftest import ALL_TERMS, TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.spy import Spy

Configure = Callable[..., DictConfig]
QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=3", "trainer.val_check_interval=3"]


def weights(path: Path) -> dict[str, Tensor]:
    return dict(torch.load(path, weights_only=True)["state_dict"])


@pytest.mark.parametrize("term", ["pixel", "perceptual", "adversarial", "total_variation"])
def test_every_weighted_term_reaches_every_generator_weight(configure: Configure, term: str) -> None:
    others = [f"loss.{name}=0" for name in ("pixel", "perceptual", "adversarial", "total_variation") if name != term]
    cfg = configure(*QUICK, *ALL_TERMS, *others, f"loss.{term}=1", "model.generator.global_skip=none")
    module = instantiate(cfg.model, loss=instantiate(cfg.loss))
    sr, hr = module(torch.rand(2, 3, 8, 8)), torch.rand(2, 3, 32, 32)
    loss, _ = module.loss(sr, hr, module.discriminator(sr))
    loss.backward()
    for name, parameter in module.generator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.slow
def test_both_networks_move_and_vgg_does_not(configure: Configure) -> None:
    spy = Spy()
    train(configure(*QUICK, *ALL_TERMS), [spy])
    trained = {name: p for name, p in spy.module.named_parameters() if not name.startswith("loss.")}
    for name, parameter in trained.items():
        # Biases before the generator's zero-initialised last layer need one step more than others; three are enough.
        assert not torch.equal(parameter, spy.start[name]), f"{name} never moved"
    for name, parameter in spy.module.loss.perceptual.named_parameters():
        assert torch.equal(parameter, spy.start[f"vgg.{name}"])
    assert not spy.module.loss.perceptual.features.training
    assert not any("vgg" in name or "perceptual" in name for name in spy.module.state_dict())
    optimised = {
        id(p) for optimizer in spy.module.trainer.optimizers for g in optimizer.param_groups for p in g["params"]
    }
    assert optimised == {id(p) for p in trained.values()}


@pytest.mark.slow
def test_discriminator_learns_at_its_own_rate(configure: Configure) -> None:
    """One Adam step moves every weight by at most its learning rate, and the largest by nearly that."""
    overrides = ["trainer.max_steps=1", "model.generator_optimizer.lr=1e-3", "model.discriminator_optimizer.lr=1e-2"]
    cfg = configure(*QUICK, *overrides)
    lightning.seed_everything(cfg.seed, verbose=False)
    module = instantiate(cfg.model, loss=instantiate(cfg.loss))
    train(cfg)
    trained = weights(Path(cfg.run_dir) / "checkpoints/last.ckpt")
    for network, rate in (("generator", 1e-3), ("discriminator", 1e-2)):
        steps = [(trained[f"{network}.{n}"] - p).abs().max() for n, p in getattr(module, network).named_parameters()]
        assert max(steps).item() == pytest.approx(rate, rel=0.05)


@pytest.mark.slow
def test_one_generator_forward_per_step_in_the_right_order(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discriminator first on detached SR, then the generator against the stepped discriminator."""
    calls: list[str] = []
    for network, name in ((Generator, "generator"), (Discriminator, "discriminator")):

        def recorded(self: Any, image: Tensor, original: Any = network.forward, name: str = name) -> Any:
            calls.append(f"{name} {'with' if image.requires_grad else 'without'} graph")
            return original(self, image)

        monkeypatch.setattr(network, "forward", recorded)
    train(configure(*QUICK, "trainer.max_steps=1", "trainer.limit_val_batches=0"))
    assert calls == [
        "generator without graph",
        "discriminator without graph",
        "discriminator without graph",
        "discriminator with graph",
    ]


@pytest.mark.slow
def test_steps_and_schedules_count_generator_updates(configure: Configure) -> None:
    spy = Spy()
    schedule = "{_target_: torch.optim.lr_scheduler.MultiStepLR, _partial_: true, milestones: [2, 4], gamma: 0.1}"
    cfg = configure(
        *QUICK,
        "trainer.max_steps=5",
        "~model.generator_scheduler",
        f"+model.generator_scheduler={schedule}",
        "model.generator_optimizer.lr=1",
    )
    summary = train(cfg, [spy])
    assert spy.steps == [1, 2, 3, 4, 5]
    assert spy.rates == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])
    assert len(spy.gradients["generator"]) == len(spy.gradients["discriminator"]) == 5
    assert summary["steps"] == 5
    rows = list(csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows if row["loss/generator"]] == [1, 2, 3, 4, 5]
    assert [int(row["step"]) for row in rows if row["val/psnr_y"]] == [3, 5]  # every 3, and at the end


@pytest.mark.slow
def test_accumulation_averages_batches_into_one_update(configure: Configure) -> None:
    spy = Spy()
    cfg = configure(*QUICK, "trainer.max_steps=2", "model.accumulate_grad_batches=3")
    train(cfg, [spy])
    assert spy.steps == [0, 0, 1, 1, 1, 2]
    assert len(spy.gradients["discriminator"]) == 2
    rows = list(csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open()))
    assert max(int(row["step"]) for row in rows) == 2


@pytest.mark.slow
def test_gradients_are_clipped_for_each_optimiser(configure: Configure) -> None:
    spy = Spy()
    train(configure(*QUICK, "trainer.max_steps=1", "model.generator_clip=1e-4", "model.discriminator_clip=0.01"), [spy])
    for network, limit in (("generator", 1e-4), ("discriminator", 0.01)):
        (before,), (seen,) = spy.gradients[network], spy.stepped[network]
        assert before > 2 * limit
        assert seen == pytest.approx(limit, rel=0.02)


class History(Callback):
    """Record the generator's weights at the start and after every batch."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.weights.append({n: v.detach().clone() for n, v in pl_module.generator.state_dict().items()})

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *_: Any) -> None:
        self.on_train_start(trainer, pl_module)


@pytest.mark.slow
def test_ema_follows_its_decay(configure: Configure) -> None:
    history = History()
    cfg = configure(*QUICK, "trainer.max_steps=4", "callbacks.ema.decay=0.3", "model.generator_optimizer.lr=0.01")
    train(cfg, [history])
    average, *rest = history.weights
    for n, current in enumerate(rest, start=1):
        decay = min(0.3, (1 + n) / (10 + n))
        average = {
            name: decay * value + (1 - decay) * current[name] if value.is_floating_point() else current[name]
            for name, value in average.items()
        }
    stored, _ = read_checkpoint(Path(cfg.run_dir) / "checkpoints/last.ckpt")
    for name, value in average.items():
        torch.testing.assert_close(stored[name], value)
    raw = weights(Path(cfg.run_dir) / "checkpoints/last.ckpt")
    torch.testing.assert_close(raw["generator.tail.weight"], rest[-1]["tail.weight"])  # swapped back after validation


# Within an epoch of four batches, at its end, within the next; where the epoch's end is a regular validation, or not;
# without workers, and with one that prefetches. Each pair of choices occurs once.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "stop", "interval", "workers"),
    [
        ("srgan", 2, 2, 1),
        ("srgan", 4, 3, 1),
        ("srgan", 6, 3, 0),
        ("srresnet", 2, 3, 0),
        ("srresnet", 4, 2, 0),
        ("srresnet", 6, 2, 1),
    ],
)
def test_resume_gives_the_weights_of_an_uninterrupted_run(
    configure: Configure, stage: str, stop: int, interval: int, workers: int
) -> None:
    tiny = [*QUICK, "model.generator.global_skip=none"]
    if stage == "srresnet":
        tiny = ["experiment=srresnet_celeba", "data=synthetic", *TINY, *TINY_FACES]
    schedule = "{_target_: torch.optim.lr_scheduler.StepLR, _partial_: true, step_size: 3, gamma: 0.5}"
    tiny += [f"trainer.val_check_interval={interval}", f"data.num_workers={workers}"]
    if stage == "srgan":
        tiny.append("~model.generator_scheduler")  # the experiment's own
    tiny += [
        f"+model.generator_scheduler={schedule}" if stage == "srgan" else f"model.generator_scheduler={schedule}",
        "degradation=blur",
        "degradation.kernel=5",
    ]
    whole = configure(*tiny, "trainer.max_steps=8", run="whole/0")
    train(whole)
    train(configure(*tiny, f"trainer.max_steps={stop}", run="parts/0"))
    rest = configure(*tiny, "trainer.max_steps=8", "ckpt_path=last", run="parts/1")
    assert train(rest)["steps"] == 8
    a, b = (torch.load(Path(cfg.run_dir) / "checkpoints/last.ckpt", weights_only=True) for cfg in (whole, rest))
    for key in ("state_dict", "generator_ema"):
        for name, value in a[key].items():
            assert torch.equal(value, b[key][name]), f"{key}: {name}"
    assert a["scores"] == b["scores"]


@pytest.mark.slow
def test_two_runs_of_one_seed_are_equal_and_of_two_seeds_are_not(configure: Configure) -> None:
    runs = [train(configure(*QUICK, f"seed={seed}", run=str(n))) for n, seed in enumerate((7, 7, 8))]
    assert runs[0]["psnr_y"] == runs[1]["psnr_y"] != runs[2]["psnr_y"]


@pytest.mark.slow
def test_the_run_directory_has_the_documented_files(configure: Configure) -> None:
    cfg = configure(*QUICK, "test=true")
    summary, run = train(cfg), Path(cfg.run_dir)
    assert json.loads((run / "summary.json").read_text()) == summary
    names = {"psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"}
    assert names | {f"bicubic_{n}" for n in names} | {f"test_{n}" for n in names} <= summary.keys()
    assert {"steps", "seconds", "images_per_second", "device", "protocol"} <= summary.keys()
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    grid = Image.open(run / "samples/step_0000003.png")
    assert grid.size == (3 * 64 + 4 * 4, 20 + 3 * 64 + 4 * 4)  # LR | SR | HR of three faces, with borders
    tensors, metadata = read_artifact(run / "generator.safetensors")
    assert json.loads(metadata["arguments"]) == {"channels": 8, "blocks": 1, "scale": 4, "global_skip": "bicubic"}
    assert json.loads(metadata["scores"])["psnr_y"] == summary["psnr_y"]
    assert tensors.keys() == Generator(8, 1).state_dict().keys()


@pytest.mark.slow
def test_stage_two_starts_from_stage_one(configure: Configure) -> None:
    faces = ["data=synthetic", *TINY_FACES, "trainer.max_steps=2", "model.generator.global_skip=bicubic"]
    one = configure("experiment=srresnet_celeba", *TINY, *faces, run="one")
    train(one)
    for name in ("generator.safetensors", "checkpoints/best.ckpt"):
        path = Path(one.run_dir) / name
        cfg = configure(*QUICK, f"model.init_from={path}")
        module = instantiate(cfg.model, loss=instantiate(cfg.loss))
        expected, _ = read_artifact(Path(one.run_dir) / "generator.safetensors")
        assert all(torch.equal(value, expected[n]) for n, value in module.generator.state_dict().items())


@pytest.mark.slow
def test_channels_last_changes_only_the_memory_format(configure: Configure) -> None:
    runs = [train(configure(*QUICK, f"model.channels_last={flag}", run=str(flag))) for flag in (True, False)]
    assert runs[0]["psnr_y"] == pytest.approx(runs[1]["psnr_y"], abs=1e-2)


def test_srresnet_refuses_an_adversarial_term() -> None:
    from srgan_lightning.utils.errors import UserError

    with pytest.raises(UserError, match="no discriminator"):
        SRResNet(Generator(4, 1), GeneratorLoss(1, 0, 1e-3), torch.optim.Adam)  # type: ignore[arg-type]


def test_modules_work_from_a_plain_script() -> None:
    """Build the objects without Hydra, as the class documentation says."""
    loss = GeneratorLoss(1, 0, 1e-3)
    module = SRGAN(Generator(4, 1), Discriminator(4, 2, 8), loss, torch.optim.Adam, torch.optim.Adam)  # type: ignore[arg-type]
    assert module(torch.rand(1, 3, 8, 8)).shape == (1, 3, 32, 32)
