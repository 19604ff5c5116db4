"""Every data group refuses, at the start, sizes that cannot be trained or scored on."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from srgan_lightning.data.celeba import CelebAData
from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.data.datasets import ValidationSet
from srgan_lightning.data.degradation import Bicubic, Blur
from srgan_lightning.data.folder import FolderData, ImageFolder, PairedData
from srgan_lightning.data.synthetic.datamodule import SyntheticData
from srgan_lightning.metrics.psnr_ssim import psnr_ssim
from srgan_lightning.utils.errors import UserError
from tests.helpers.batches import assert_contract, batch_of

Photos = Callable[..., Path]


@pytest.fixture
def pairs(photos: Photos) -> Callable[..., PairedData]:
    """Write x4 pairs with the given HR sides in training and validation."""

    def make(train: int, val: int, **options: object) -> PairedData:
        dirs = [str(photos(f"{n}-{side}", 2, (side, side))) for n in (train, val) for side in (n, n // 4)]
        return PairedData(*dirs, **({"degradation": Bicubic(4), "batch_size": 2, "num_workers": 0} | options))  # type: ignore[arg-type]

    return make


def test_whole_pairs_must_be_divisible(pairs: Callable[..., PairedData]) -> None:
    with pytest.raises(UserError, match=r"train_hr_dir: HR of 130x130 pixels .* cannot be divided by scale=4"):
        pairs(130, 48).setup("fit")
    assert_contract(batch_of(pairs(128, 48)), (2, 3, 128, 128), (2, 3, 32, 32))


def test_pairs_are_not_blurred(pairs: Callable[..., PairedData]) -> None:
    data = pairs(48, 24, degradation=Blur(4, 25), crop=32)  # LR of 8 and 6 pixels, where a blur would need 13
    assert_contract(batch_of(data), (2, 3, 32, 32), (2, 3, 8, 8))
    assert_contract(batch_of(data, "val"), (1, 3, 24, 24), (1, 3, 6, 6))


@pytest.mark.parametrize("side", [16, 19])  # of 19, three pixels are cut off
def test_validation_images_must_be_scorable(photos: Photos, pairs: Callable[..., PairedData], side: int) -> None:
    train, val = str(photos("train", 2)), str(photos("val", 2, (side, side)))
    folder = FolderData(train, val, degradation=Bicubic(4), crop=32, batch_size=2)
    for data in (folder, pairs(48, side, crop=32)):
        with pytest.raises(UserError, match=rf"photo0\.png is {side}x{side} pixels.*20 pixels per side") as caught:
            data.setup("fit")
        assert "data.crop" not in str(caught.value)  # that option has no effect here


@pytest.mark.parametrize("crop", [None, 16])
def test_sizes_by_option_must_be_scorable(celeba: Path, crop: int | None) -> None:
    makes: list[Callable[[], SuperResolutionData]] = [
        lambda: SyntheticData(4, 4, 16, degradation=Bicubic(4), crop=crop),
        lambda: CelebAData(str(celeba), (16, 64), "square", degradation=Bicubic(4), crop=crop),
    ]
    for make in makes:
        with pytest.raises(UserError, match=r"data\.size: HR of \d+x16 pixels is too small.*use at least 20"):
            make()


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_minimum_side_is_that_of_the_metrics(photos: Photos, scale: int) -> None:
    least = FolderData(None, None, degradation=Bicubic(scale)).min_side("val")

    def scored(side: int) -> torch.Tensor:
        hr = ValidationSet(ImageFolder(photos(f"of{side}", 1, (side, side)), "x"), scale)[0]["hr"][None] / 255
        return psnr_ssim(hr, hr, scale)

    assert scored(least).isfinite().any()
    with pytest.raises(ValueError, match="too small to score"):
        scored(least - 1)
