"""More or fewer updates of the discriminator than of the generator."""

import copy
import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from srgan_lightning.losses import GeneratorLoss
from srgan_lightning.networks import Discriminator, Generator
from srgan_lightning.train import train
from srgan_lightning.training import SRGAN
from srgan_lightning.training.turns import Turn, Turns
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY_FACES, TINY_SRGAN
from tests.helpers.spy import Spy
from tests.helpers.stops import SRGAN as RUN
from tests.helpers.stops import configuration

Configure = Callable[..., DictConfig]
QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.val_check_interval=100"]


def played(turns: Turns, batches: int, trains: bool = True) -> Iterator[Turn]:
    """Yield the turns of so many batches, with training's count of updates."""
    updates = 0
    for _ in range(batches):
        turn = turns.take(updates, trains)
        if turn.generator_updates:
            turns.taken, updates = 0, updates + 1
        yield turn


def letters(turns: Turns, batches: int, trains: bool = True) -> str:
    """Return each turn in letters: d and g learn; D and G are also updated."""
    words = []
    for turn in played(turns, batches, trains):
        d = ("D" if turn.discriminator_updates else "d") if turn.discriminator_learns else ""
        g = ("G" if turn.generator_updates else "g") if turn.generator_learns else ""
        words.append(d + g)
    return " ".join(words)


def test_turns_by_hand() -> None:
    assert letters(Turns(1), 3) == "DG DG DG"
    assert letters(Turns(3), 6) == "dg dg DG dg dg DG"
    assert letters(Turns(1, 3), 6) == "D D DG D D DG"
    assert letters(Turns(2, 2), 8) == "d D dg DG d D dg DG"
    assert letters(Turns(1, 1, 3), 6) == "G G DG G G DG"
    assert letters(Turns(2, 1, 2), 8) == "g G dg DG g G dg DG"
    assert letters(Turns(2, 3), 4, trains=False) == "g G g G"


def test_a_half_finished_update_of_a_checkpoint_ends_with_fewer_turns() -> None:
    turns = Turns(1)
    turns.taken = 2  # by a run of discriminator_updates=3
    assert turns.take(0, True).generator_updates


@pytest.mark.parametrize(("updates", "interval"), [(0, 1), (1, 0), (2, 2)])
def test_invalid_numbers_are_refused(updates: int, interval: int) -> None:
    with pytest.raises(UserError, match=f"discriminator_updates={updates}, model.discriminator_interval={interval}"):
        Turns(1, updates, interval)


def reference(generator: Generator, discriminator: Discriminator, batches: list[dict[str, Tensor]], plan: str) -> None:
    """Run a plain training loop: SGD at 0.1, and one batch for each word of the plan."""
    g, d = (torch.optim.SGD(network.parameters(), lr=0.1) for network in (generator, discriminator))
    bce = F.binary_cross_entropy_with_logits
    for batch, word in zip(batches, plan.split(), strict=True):
        sr = generator(batch["lr"])
        if "D" in word:
            real, fake = discriminator(batch["hr"]), discriminator(sr.detach())
            d.zero_grad()
            (bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))).backward()
            d.step()
        if "G" in word:
            fake = discriminator(sr)
            g.zero_grad()
            (F.mse_loss(sr, batch["hr"]) + 1e-2 * bce(fake, torch.ones_like(fake))).backward()
            g.step()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "plan"),
    [
        ({}, "DG DG DG DG"),
        ({"discriminator_updates": 2}, "D DG D DG D DG"),
        ({"discriminator_interval": 2}, "G DG G DG G"),
    ],
)
def test_both_networks_equal_those_of_a_plain_loop(options: dict[str, int], plan: str) -> None:
    torch.manual_seed(0)
    generator, discriminator = Generator(4, 1), Discriminator(4, 2, 8)
    expected = copy.deepcopy(generator), copy.deepcopy(discriminator)
    batches = [
        {"hr": torch.rand(2, 3, 32, 32), "lr": torch.rand(2, 3, 8, 8), "index": torch.arange(2)} for _ in plan.split()
    ]
    sgd: Any = partial(torch.optim.SGD, lr=0.1)
    module = SRGAN(generator, discriminator, GeneratorLoss(1, 0, 1e-2), sgd, sgd, **options)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=plan.count("G"),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    reference(*expected, batches, plan)
    assert (trainer.global_step, module.discriminator_steps) == (plan.count("G"), plan.count("D"))
    for ours, theirs in zip((generator, discriminator), expected, strict=True):
        for name, tensor in theirs.state_dict().items():
            torch.testing.assert_close(
                ours.state_dict()[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
            )


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(
    ("option", "steps"), [("discriminator_updates=3", 12), ("discriminator_interval=3", 1)], ids=["more", "fewer"]
)
def test_a_training_counts_generator_updates(configure: Configure, option: str, steps: int, precision: str) -> None:
    spy = Spy()
    cfg = configure(*QUICK, f"model.{option}", "model.accumulate_grad_batches=2", "trainer.max_steps=4",
                    f"trainer.precision={precision}", "callbacks.health.interval=1")  # fmt: skip
    summary = train(cfg, [spy])
    assert summary["steps"] == 4
    assert (len(spy.stepped["generator"]), len(spy.stepped["discriminator"])) == (4, steps)
    assert all(norm > 0 for norms in spy.stepped.values() for norm in norms)
    rows = [row for row in csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open()) if row["lr/generator"]]
    assert len(rows) == 8 + 2 * max(0, steps - 4)  # one row per batch
    for column, count in (("loss/generator", 8), ("loss/discriminator", 2 * steps)):  # other rows repeat the last value
        values = [row[column] for row in rows if row[column]]
        assert len(dict.fromkeys(values)) == count, column
    log = Path(cfg.run_dir) / "health.log"
    assert not log.exists() or "discriminator" not in log.read_text()  # Health does not warn about its updates
    assert torch.load(Path(cfg.run_dir) / "checkpoints/last.ckpt", weights_only=True)["discriminator_steps"] == steps


@pytest.mark.slow
def test_r1_counts_the_discriminators_own_updates(configure: Configure) -> None:
    """R1 is in every second discriminator update, which comes every second generator update."""
    cfg = configure(*QUICK, "model.discriminator_interval=2", "loss.r1=1", "loss.r1_interval=2", "trainer.max_steps=9")
    train(cfg)
    rows = list(csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open()))
    first = {row["health/r1"]: float(row["step"]) for row in reversed(rows) if row["health/r1"]}  # later rows repeat it
    assert sorted(first.values()) == [4, 8]


@pytest.mark.slow
def test_a_checkpoint_of_release_0_1_0_updated_both_together(tmp_path: Path) -> None:
    overrides = [*RUN, "trainer.max_steps=2", "trainer.val_check_interval=5"]
    train(configuration(tmp_path / "0", overrides))
    path = tmp_path / "0/checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint.pop("discriminator_steps") == 2
    torch.save(checkpoint, path)
    train(configuration(tmp_path / "0", overrides, ckpt_path="last", trainer={"max_steps": 3}))
    assert torch.load(path, weights_only=True)["discriminator_steps"] == 3
