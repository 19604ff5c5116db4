"""`data.repeats`: several passes over the images in one epoch."""

from collections.abc import Callable
from pathlib import Path

import pytest

from srgan_lightning.data.datasets import SeededSampler, TrainingSet
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.folder import FolderData, ImageFolder
from srgan_lightning.train import train
from srgan_lightning.utils.errors import UserError
from tests.helpers.stops import SRRESNET, configuration, differences, stopped

Photos = Callable[..., Path]


def test_repeats_join_epochs(photos: Photos) -> None:
    """An epoch of three passes has the samples of three epochs of one pass, and resumes within any of them."""
    dataset = TrainingSet(ImageFolder(photos("train", 5), "x"), 4, 32)

    def epoch(number: int, repeats: int, rank: int, seen: int = 0) -> list[tuple[int, int]]:
        sampler = SeededSampler(dataset, 2, rank, seed=3, repeats=repeats)
        sampler.set_epoch(number)
        sampler.seen = number, seen
        assert len(sampler) == 3 * repeats  # one of five images is used twice, for two processes
        return list(sampler)

    for rank in (0, 1):
        passes = [sample for number in (3, 4, 5) for sample in epoch(number, 1, rank)]
        assert epoch(1, 3, rank) == passes
        assert epoch(1, 3, rank, seen=4) == passes[4:]
        assert len(set(passes)) == 9


def test_repeats_make_batches_larger_than_the_data_set(photos: Photos) -> None:
    good = str(photos("good", 4))
    data = FolderData(good, good, degradation=Bicubic(4), crop=32, batch_size=16, repeats=9, num_workers=0)
    data.setup("fit")
    assert [batch["index"].bincount().tolist() for batch in data.train_dataloader()] == [4 * [4], 4 * [4]]
    for repeats in (0, 2.5, "3", 10**9):
        with pytest.raises(UserError, match=f"data.repeats={repeats}: give 1 to 100000"):
            FolderData(good, good, degradation=Bicubic(4), repeats=repeats)


@pytest.mark.slow
def test_a_run_stopped_within_repeats_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """Stop within the second pass of the first epoch, and within the second epoch."""
    overrides = [*SRRESNET, "trainer.max_steps=4", "trainer.val_check_interval=2", "+data.repeats=2"]
    whole, parts = tmp_path / "whole/0", tmp_path / "parts/0"
    train(configuration(whole, overrides))
    for batch in (5, 9):
        assert stopped(parts, overrides, batch)["interrupted"]
    train(configuration(parts, overrides, ckpt_path="last"))
    assert differences(whole, parts) == []
