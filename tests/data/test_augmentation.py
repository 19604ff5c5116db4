"""Random augmentation of photos on their way into a batch."""

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from srgan_lightning.data.augmentation import augment, draw_augmentation
from srgan_lightning.data.datasets import TrainingSet
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.synthetic.datamodule import SyntheticData
from srgan_lightning.utils.errors import UserError


class Ramp:
    """One image whose red grows by 1 and green by 0.5 per pixel to the right: shrinking steepens both."""

    def __len__(self) -> int:
        return 1

    def name(self, index: int) -> str:
        return "ramp"

    def read(self, index: int) -> torch.Tensor:
        row = torch.arange(200).float()
        return torch.stack([row, row / 2, row * 0])[:, None].expand(3, 160, 200).to(torch.uint8).contiguous()


def test_random_scale_shrinks_before_cropping() -> None:
    dataset = TrainingSet(Ramp(), 4, crop=40, hflip=False, random_scale=0.5)
    slopes = []
    for seed in range(40):
        hr = dataset[0, seed]["hr"]
        assert hr.shape == (3, 40, 40)
        assert torch.equal(hr, dataset[0, seed]["hr"])
        slopes.append((hr[0, 20, 30].item() - hr[0, 20, 10].item()) / 20)
    assert 1.0 <= min(slopes) < 1.2  # the factor is the inverse of the slope
    assert 1.8 < max(slopes) <= 2.05


def test_random_scale_never_leaves_the_image() -> None:
    assert TrainingSet(Ramp(), 4, crop=160, random_scale=0.25)[0, 0]["hr"].shape == (3, 160, 160)


def test_shuffle_channels_permutes_colours() -> None:
    batch = default_collate([TrainingSet(Ramp(), 4, 40, False, shuffle_channels=True)[0, seed] for seed in range(60)])
    means = augment(batch["hr"], batch).float().mean((2, 3))
    assert len({tuple(order) for order in means.argsort(1).tolist()}) == 6


def test_augmentation_in_batches_is_that_of_each_image() -> None:
    images = torch.randint(0, 256, (40, 3, 12, 12), dtype=torch.uint8)
    drawn = [draw_augmentation(np.random.default_rng(seed), True, True, True, square=True) for seed in range(40)]
    result = augment(images, default_collate(drawn))
    for image, how, got in zip(images, drawn, result, strict=True):
        mirrored = image.flip(-1) if how["flip"] else image
        assert torch.equal(got, torch.rot90(mirrored, how["turns"], (-2, -1))[how["order"]])  # type: ignore[index, arg-type]
    assert len({(how["flip"], how["turns"]) for how in drawn}) == 8


def test_images_that_are_not_square_are_turned_by_180_degrees() -> None:
    images = torch.randint(0, 256, (20, 3, 12, 8), dtype=torch.uint8)
    drawn = [draw_augmentation(np.random.default_rng(seed), False, True, False, square=False) for seed in range(20)]
    for image, how, got in zip(images, drawn, augment(images, default_collate(drawn)), strict=True):
        assert torch.equal(got, torch.rot90(image, how["turns"], (-2, -1)))  # type: ignore[arg-type]
    assert {how["turns"] for how in drawn} == {0, 2}


@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_random_scale_is_checked(value: float) -> None:
    with pytest.raises(UserError, match="random_scale"):
        SyntheticData(4, 4, 64, degradation=Bicubic(4), crop=32, random_scale=value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_augmentation_on_a_gpu_is_that_on_the_cpu() -> None:
    images = torch.randint(0, 256, (16, 3, 12, 12), dtype=torch.uint8)
    drawn = [draw_augmentation(np.random.default_rng(seed), True, True, True, square=True) for seed in range(16)]
    batch = default_collate(drawn)
    on_gpu = augment(images.cuda(), {name: value.cuda() for name, value in batch.items()})
    assert torch.equal(on_gpu.cpu(), augment(images, batch))
