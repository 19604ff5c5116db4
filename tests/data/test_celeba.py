"""CelebA: its layout, splits, crops, download, and partition files."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from PIL import Image

from srgan_lightning.data.celeba import CelebA, CelebAData, read_partition
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.train import train
from srgan_lightning.utils.errors import UserError
from tests.helpers.batches import assert_contract, batch_of

Configure = Callable[..., DictConfig]


def test_celeba_official_split_and_square_crop(celeba: Path) -> None:
    data = CelebAData(str(celeba), (64, 64), "square", degradation=Bicubic(4), batch_size=2, num_workers=0)
    assert_contract(batch_of(data), (2, 3, 64, 64), (2, 3, 16, 16))
    assert [len(data.source(split)) for split in ("train", "val", "test")] == [5, 2, 1]
    image = data.source("val").read(0)
    # The centre square is columns 0..177 and rows 20..197: equal slopes, so the face keeps its proportion.
    red, green = (image[c, 8:56, 8:56].float() for c in (0, 1))
    assert (red[:, -1] - red[:, 0]).mean().item() == pytest.approx((green[-1] - green[0]).mean().item(), abs=1.5)
    assert green[0].mean().item() == pytest.approx(20 + 178 * 8.5 / 64, abs=1.5)


def test_celeba_squash_and_native(celeba: Path) -> None:
    squashed = CelebA(celeba, "val", (64, 64), "squash").read(0)
    assert (squashed[1, -4].float().mean() - squashed[1, 3].float().mean()).item() > 190  # all 218 rows
    native = CelebA(celeba, "val", (216, 176), "native").read(0)
    whole = torch.from_numpy(np.array(Image.open(celeba / "img_align_celeba/000006.jpg"))).permute(2, 0, 1)
    assert torch.equal(native, whole[:, 1:217, 1:177])
    with pytest.raises(UserError, match="never upsamples"):
        CelebA(celeba, "val", (256, 256), "native").read(0)


def test_celeba_from_its_zip_equals_the_folder(celeba: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed" / "celeba"  # torchvision expects root/celeba
    packed.mkdir(parents=True)
    with zipfile.ZipFile(packed / "img_align_celeba.zip", "w") as archive:
        for path in sorted((celeba / "img_align_celeba").iterdir()):
            archive.write(path, f"img_align_celeba/{path.name}")
    (packed / "list_eval_partition.txt").write_text((celeba / "list_eval_partition.txt").read_text())
    arguments: dict[str, Any] = {"degradation": Bicubic(4), "batch_size": 4, "num_workers": 2, "val_batch_size": 2}
    ours = batch_of(CelebAData(str(packed.parent), (64, 64), "square", **arguments))
    theirs = batch_of(CelebAData(str(celeba), (64, 64), "square", **arguments))
    assert torch.equal(ours["hr"], theirs["hr"])


def test_real_celeba_sample(shared: Callable[[str], Path]) -> None:
    data = CelebAData(str(shared("data/celeba_sample")), (216, 176), "native", degradation=Bicubic(4), num_workers=0)
    assert_contract(batch_of(data), (16, 3, 216, 176), (16, 3, 54, 44))


@pytest.mark.slow
def test_x8_goes_from_16_to_128_pixels_and_scores_the_test_split(celeba: Path, configure: Configure) -> None:
    tiny = ("model.generator.channels=8", "model.generator.blocks=1", "data.batch_size=2", "trainer.accelerator=cpu")
    short = ("trainer.max_steps=1", "trainer.val_check_interval=1")
    summary = train(configure("experiment=celeba_x8", f"data.root={celeba}", *tiny, *short, "test=true"))
    hr = CelebA(celeba, "test", (128, 128), "square").read(0)[None] / 255
    lr = F.interpolate(hr, (16, 16), mode="bicubic", antialias=True).mul(255).round().clamp(0, 255) / 255
    bicubic = F.interpolate(lr, (128, 128), mode="bicubic", antialias=True).mul(255).round().clamp(0, 255)
    luma = [16 + (x * torch.tensor([65.481, 128.553, 24.966]).view(3, 1, 1) / 255).sum(1) for x in (hr * 255, bicubic)]
    error = (luma[0] - luma[1])[..., 8:-8, 8:-8].double().square().mean()
    assert summary["test_bicubic_psnr_y"] == pytest.approx(10 * float(torch.log10(255**2 / error)), abs=0.02)


def test_missing_celeba_raises_user_error_with_advice(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"looked in .*data\.download=true.*experiment=quickstart"):
        CelebA(tmp_path, "train", (64, 64), "square")


def test_invalid_options_are_refused(tmp_path: Path) -> None:
    for size, fit, words in (((64, 64), "sqare", r"data\.fit='sqare'"), ((64,), "square", "give two numbers")):
        with pytest.raises(UserError, match=words):
            CelebAData(str(tmp_path), size, fit, degradation=Bicubic(4))  # type: ignore[arg-type]


def test_a_failed_download_raises_user_error_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("quota exceeded")

    monkeypatch.setattr("torchvision.datasets.CelebA", fail)
    data = CelebAData(str(tmp_path), (64, 64), "square", download=True, degradation=Bicubic(4))
    with pytest.raises(UserError, match=r"quota exceeded.*img_align_celeba\.zip.*list_eval_partition\.txt.*data\.root"):
        data.prepare_data()


@settings(max_examples=30, deadline=None)
@given(line=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_partition_files_are_read_or_refused(line: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("partition") / "list_eval_partition.txt"
    path.write_text(f"000001.jpg 0\n{line}\n", encoding="utf-8")
    try:
        names = read_partition(path, "train")
    except UserError:
        return
    assert names[0] == "000001.jpg"
    assert all("/" not in name for name in names)
