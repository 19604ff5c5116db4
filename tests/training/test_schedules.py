"""Learning rate schedules: uninterrupted, resumed, and resumed with other options."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR

from srgan_lightning.train import train
from srgan_lightning.training.schedules import reapply_scheduler_options
from srgan_lightning.training.warmup import WarmupCosine
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY, TINY_FACES, TINY_SRGAN

Configure = Callable[..., DictConfig]
STAGES = {
    "srgan": ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES],
    "srresnet": ["experiment=srresnet_celeba", "data=synthetic", *TINY, *TINY_FACES],
}
COSINE = "{_target_: torch.optim.lr_scheduler.CosineAnnealingLR, _partial_: true, T_max: '${trainer.max_steps}'}"


def rates(scheduler: LRScheduler, updates: int) -> list[float]:
    seen = []
    for _ in range(updates):
        scheduler.optimizer.step()
        scheduler.step()
        seen.append(scheduler.optimizer.param_groups[0]["lr"])
    return seen


@pytest.mark.parametrize("factor", [1.0, 0.5])
@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer, n: CosineAnnealingLR(optimizer, T_max=n, eta_min=0),
        lambda optimizer, n: MultiStepLR(optimizer, milestones=[n // 2], gamma=0.1),
        lambda optimizer, n: LinearLR(optimizer, start_factor=0.1, total_iters=n),
        lambda optimizer, n: WarmupCosine(optimizer, T_max=n, warmup=n // 3),
    ],
)
def test_a_changed_schedule_continues_as_if_set_from_the_start(
    make: Callable[[SGD, int], LRScheduler], factor: float
) -> None:
    """Test a rate that was lowered before too; it stays lowered."""

    def fresh(updates: int) -> LRScheduler:
        return make(SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), updates)

    short, resumed, whole = fresh(6), fresh(12), fresh(12)
    rates(short, 6)
    configured, state = resumed.state_dict(), short.state_dict()
    state["base_lrs"] = [rate * factor for rate in state["base_lrs"]]
    resumed.load_state_dict(state)
    reapply_scheduler_options(resumed, dict(configured), 6)
    assert rates(resumed, 6) == pytest.approx([factor * rate for rate in rates(whole, 12)[6:]])


def test_an_unchanged_schedule_is_left_alone() -> None:
    scheduler = CosineAnnealingLR(SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), T_max=8)
    configured = dict(scheduler.state_dict())
    rates(scheduler, 3)
    scheduler.optimizer.param_groups[0]["lr"] = 0.123
    reapply_scheduler_options(scheduler, configured, 3)
    assert scheduler.optimizer.param_groups[0]["lr"] == 0.123


@pytest.mark.parametrize("earlier", [None, lambda optimizer: LinearLR(optimizer, start_factor=0.1, total_iters=4)])
def test_a_schedule_set_at_a_resume_continues_as_if_set_from_the_start(
    earlier: Callable[[SGD], LRScheduler] | None,
) -> None:
    """Test a run that had no schedule before, and one that had a schedule of another class."""
    before, resumed, whole = (SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0) for _ in range(3))
    schedule = None if earlier is None else earlier(before)
    if schedule is not None:
        rates(schedule, 6)
    cosine = CosineAnnealingLR(resumed, T_max=12)
    configured = dict(cosine.state_dict())
    resumed.load_state_dict(before.state_dict())
    if schedule is not None:
        cosine.load_state_dict(schedule.state_dict())
    reapply_scheduler_options(cosine, configured, 6)
    assert cosine.state_dict().keys() == configured.keys()
    assert rates(cosine, 6) == pytest.approx(rates(CosineAnnealingLR(whole, T_max=12), 12)[6:])


@pytest.mark.slow
def test_a_generators_schedule_set_at_a_resume_leaves_that_of_the_discriminator(configure: Configure) -> None:
    """Lightning would load the discriminator's state into the first schedule, which is now the generator's."""
    of_discriminator = COSINE.replace("'${trainer.max_steps}'", "9")
    options = [*STAGES["srgan"], "~model.generator_scheduler", f"++model.discriminator_scheduler={of_discriminator}"]
    options += ["callbacks.sample_grid=null", "callbacks.patch_score=null", "model.generator_optimizer.lr=1e-3"]
    train(configure(*options, "trainer.max_steps=2"))
    of_generator = COSINE.replace("'${trainer.max_steps}'", "6")
    cfg = configure(*options, f"+model.generator_scheduler={of_generator}", "trainer.max_steps=3", "ckpt_path=last")
    train(cfg)
    rows = [row for row in csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open()) if row["lr/generator"]]
    assert float(rows[-1]["lr/generator"]) == pytest.approx(5e-4)
    expected = cfg.model.discriminator_optimizer.lr * (1 + math.cos(math.pi * 3 / 9)) / 2
    assert float(rows[-1]["lr/discriminator"]) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_is_made_longer_stretches_its_cosine(configure: Configure, stage: str) -> None:
    options = [*STAGES[stage], f"++model.generator_scheduler={COSINE}", "model.generator_optimizer.lr=1e-3"]
    train(configure(*options, "trainer.max_steps=4"))
    cfg = configure(*options, "trainer.max_steps=8", "ckpt_path=last")
    train(cfg)
    rows = list(csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open()))
    seen = {int(row["step"]): float(row["lr/generator"]) for row in rows if row["lr/generator"]}
    behind = 1 if stage == "srresnet" else 0  # stage one logs the rate of the update, stage two that of the next
    assert seen.keys() == set(range(1, 9))
    for step in range(5, 9):
        assert seen[step] == pytest.approx(5e-4 * (1 + math.cos(math.pi * (step - behind) / 8)), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_cosine_over_no_number_of_updates_is_refused(configure: Configure, stage: str) -> None:
    endless = ["trainer.max_steps=-1", "trainer.max_epochs=1", f"++model.generator_scheduler={COSINE}"]
    with pytest.raises(UserError, match=r"model.generator_scheduler.T_max=-1.*Set trainer.max_steps"):
        train(configure(*STAGES[stage], *endless))


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_schedule_that_waits_for_a_score_is_refused(configure: Configure, stage: str) -> None:
    option = "model.generator_scheduler={_target_: torch.optim.lr_scheduler.ReduceLROnPlateau, _partial_: true}"
    replace = ["~model.generator_scheduler", f"+{option}"] if stage == "srgan" else [option]
    with pytest.raises(UserError, match=r"model.generator_scheduler: ReduceLROnPlateau needs a score.*=cosine"):
        train(configure(*STAGES[stage], "trainer.max_steps=1", *replace))


@pytest.mark.slow
def test_options_of_another_schedule_are_refused(configure: Configure) -> None:
    linear = "model.generator_scheduler._target_=torch.optim.lr_scheduler.LinearLR"
    with pytest.raises(UserError, match=r"generator_scheduler: .*'T_max'.* or with ~model.generator_scheduler"):
        train(configure(*STAGES["srgan"], "trainer.max_steps=1", linear))
