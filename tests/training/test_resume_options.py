"""Options with a state or a counter: a run that is stopped several times equals the uninterrupted one.

Several options are tested at once, because a difference in any of them changes the result.
"""

from pathlib import Path

import pytest

from tests.helpers.stops import SRGAN, SRRESNET, assert_resumes_exactly

#: Epochs of five batches.
TWO_BATCHES = ["model.accumulate_grad_batches=2", "data.train_images=10"]
RISE = ["scheduler@model.generator_scheduler=warmup_cosine", "model.generator_scheduler.warmup=2"]
#: Twelve batches: d D dg DG, three times; every second discriminator update has the R1 penalty.
MORE_TURNS = [
    *SRGAN,
    *TWO_BATCHES,
    "model.discriminator_updates=2",
    "loss.r1=1",
    "loss.r1_interval=2",
    "model.discriminator_augment=[color,translation,cutout]",
    "trainer.max_steps=3",
]
#: Eight batches: g G dg DG, twice; the adversarial term begins in the second update, at full weight from the third.
FEWER_TURNS = [
    *SRGAN,
    *TWO_BATCHES,
    "model.discriminator_interval=2",
    "loss.adversarial_kind=relativistic",
    "loss.adversarial_start=1",
    "loss.adversarial_ramp=2",
    *RISE,
    "scheduler@model.discriminator_scheduler=warmup",
    "model.discriminator_scheduler.total_iters=3",
    "trainer.max_steps=4",
]
STAGE_ONE = [*SRRESNET, *RISE, "trainer.max_steps=4"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "stops"),
    [(MORE_TURNS, (1, 3, 6, 11)), (FEWER_TURNS, (2, 3, 7)), (STAGE_ONE, (2, 7))],
    ids=["r1, augmentation, more turns", "relativistic, ramp, warm-up, fewer turns", "warm-up in stage one"],
)
def test_a_run_stopped_again_and_again_is_the_uninterrupted_one(
    tmp_path: Path, overrides: list[str], stops: tuple[int, ...]
) -> None:
    assert_resumes_exactly(tmp_path, [*overrides, "trainer.val_check_interval=100"], stops)
