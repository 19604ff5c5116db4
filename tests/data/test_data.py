"""Every data group: what it reads, cuts, and refuses."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srgan_lightning.data.celeba import CelebA
from srgan_lightning.data.datasets import SeededSampler, TrainingSet, ValidationSet
from srgan_lightning.data.degradation import Bicubic, Blur
from srgan_lightning.data.fingerprint import fingerprint
from srgan_lightning.data.folder import FolderData, ImageFolder, PairedData, pair_key
from srgan_lightning.data.synthetic.datamodule import DrawnFaces, SyntheticData
from srgan_lightning.imaging.reading import decode, open_image, to_tensor
from srgan_lightning.utils.errors import UserError
from tests.helpers.batches import assert_contract, batch_of

Photos = Callable[..., Path]


def test_folder_searches_recursively_and_crops(photos: Photos, tmp_path: Path) -> None:
    photos("train", 3, (40, 60))
    photos("train/more/deep", 2, (60, 40), ".jpg")
    (tmp_path / "train" / "notes.txt").write_text("no photo")
    val = photos("val", 2, (45, 38))
    data = FolderData(
        str(tmp_path / "train"), str(val), degradation=Bicubic(4), crop=32, batch_size=5, rotate=True, num_workers=0
    )
    assert_contract(batch_of(data), (5, 3, 32, 32), (5, 3, 8, 8))
    assert_contract(batch_of(data, "val"), (1, 3, 44, 36), (1, 3, 11, 9))  # whole, except the remainder of the scale


def test_pairs_are_matched_and_stay_aligned(photos: Photos, tmp_path: Path) -> None:
    hr = photos("hr", 4, (48, 64))
    lr = tmp_path / "lr"
    lr.mkdir()
    for path in hr.iterdir():
        small = Bicubic(4)(ImageFolder(hr, "hr").read(int(path.stem[-1]))[None] / 255, torch.zeros(1))[0]
        pixels = (small * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(lr / f"{path.stem}x4.png")
    dirs = (str(hr), str(lr)) * 2
    batch = batch_of(PairedData(*dirs, degradation=Bicubic(4), crop=32, batch_size=4, rotate=True, num_workers=0))
    assert_contract(batch, (4, 3, 32, 32), (4, 3, 8, 8))
    again = Bicubic(4)(batch["hr"], torch.zeros(4))
    assert (again - batch["lr"])[..., 2:-2, 2:-2].abs().max() < 2 / 255  # except the border that the crop changes


def test_pairs_that_do_not_fit_are_refused(photos: Photos) -> None:
    hr, lr = photos("hr", 3, (48, 48)), photos("lr", 3, (12, 16))
    with pytest.raises(UserError, match=r"16x12, .* 48x48: with scale=4 LR must be 12x12"):
        PairedData(*(str(hr), str(lr)) * 2, degradation=Bicubic(4)).setup("fit")
    (lr / "photo2.png").unlink()
    with pytest.raises(UserError, match=r"photo2\.png has no LR"):
        PairedData(*(str(hr), str(lr)) * 2, degradation=Bicubic(4)).setup("fit")


def test_files_that_share_a_stem_make_no_pairs(photos: Photos) -> None:
    hr, lr = photos("hr", 3, (48, 48)), photos("lr", 3, (12, 12))
    (lr / "photo1x4.png").write_bytes((lr / "photo2.png").read_bytes())
    with pytest.raises(UserError, match=r"lr/photo1\.png and .*lr/photo1x4\.png share the stem 'photo1'"):
        PairedData(*(str(hr), str(lr)) * 2, degradation=Bicubic(4)).setup("fit")
    (lr / "photo1x4.png").unlink()
    photos("hr/more", 1, (48, 48))
    with pytest.raises(UserError, match=r"hr/more/photo0\.png and .*hr/photo0\.png share the stem 'photo0'"):
        PairedData(*(str(hr), str(lr)) * 2, degradation=Bicubic(4)).setup("fit")
    (hr / "more/photo0.png").unlink()
    (hr / "photo2.png").unlink()
    with pytest.raises(UserError, match=r"\(2 HR\).*\(3 LR\) do not match: \S*lr/photo2\.png has no HR of its name"):
        PairedData(*(str(hr), str(lr)) * 2, degradation=Bicubic(4)).setup("fit")


@pytest.mark.parametrize(
    "name", ["baby", "baby_LR", "babyx4", "baby_x4", "baby_HR", "baby-LRBI", "baby_LRBI_x4", "babyLRx4"]
)
def test_pair_keys(name: str) -> None:
    assert pair_key(Path(f"{name}.png"), 4) == "baby"


def test_folder_errors_name_the_setting(photos: Photos, tmp_path: Path) -> None:
    good, small = str(photos("good", 4, (48, 48))), str(photos("small", 4, (24, 24)))
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.png").write_text("no image")
    for train_dir, crop, words in (
        (None, 32, r"data\.train_dir is not set.*quickstart"),
        ("nowhere", 32, r"data\.train_dir=nowhere: no such folder \(looked in .*quickstart"),
        (str(tmp_path / "empty"), 32, "no image files"),
        (str(tmp_path / "broken"), 32, r"x\.png cannot be read"),
        (small, 32, r"photo0\.png is 24x24 pixels, too small"),
        (good, 30, r"cannot be divided by scale=4: use 28x28"),
    ):
        with pytest.raises(UserError, match=words):
            FolderData(train_dir, good, degradation=Bicubic(4), crop=crop, batch_size=2).setup("fit")
    with pytest.raises(UserError, match=r"4 images, but one step needs 16.*data\.batch_size.*data\.repeats=4"):
        FolderData(good, good, degradation=Bicubic(4), crop=32, batch_size=16).setup("fit")


def test_a_workers_error_stays_one_sentence(photos: Photos) -> None:
    folder = photos("good", 4)
    data = FolderData(str(folder), str(folder), degradation=Bicubic(4), crop=32, batch_size=2, num_workers=1)
    data.setup("fit")
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:90])  # cut short after its header
    with pytest.raises(UserError, match=r"photo\d\.png cannot be read as an image") as caught:
        next(iter(data.train_dataloader()))
    assert "Traceback" not in str(caught.value)


def test_samples_depend_only_on_their_seed(photos: Photos) -> None:
    folder = photos("train", 6)

    def epoch(number: int, workers: int) -> list[dict[str, torch.Tensor]]:
        data = FolderData(str(folder), str(folder), degradation=Blur(2, 5), crop=32, batch_size=3, num_workers=workers)
        data.setup("fit")
        loader = data.train_dataloader()
        loader.sampler.set_epoch(number)  # type: ignore[attr-defined]  # as Lightning does
        return list(loader)

    first, again, second = epoch(0, 0), epoch(0, 2), epoch(1, 0)
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a["hr"], b["hr"]) for a, b in zip(first, second, strict=True))


def test_processes_share_an_epoch_without_overlap(photos: Photos) -> None:
    dataset = TrainingSet(ImageFolder(photos("train", 6), "x"), 4, 32, True, False)
    shares = [list(SeededSampler(dataset, 2, rank, seed=3)) for rank in (0, 1)]
    assert sorted(index for share in shares for index, _ in share) == list(range(6))
    whole = dict(SeededSampler(dataset, 1, 0, seed=3))
    assert all(whole[index] == seed for share in shares for index, seed in share)


def test_validation_is_the_same_every_time(photos: Photos) -> None:
    dataset = ValidationSet(ImageFolder(photos("val", 5, (50, 47)), "x"), 4)
    draws = [dataset[i]["degradation_u"] for i in range(5)]
    assert draws == [dataset[i]["degradation_u"] for i in range(5)]
    assert len(set(draws)) == 5
    assert dataset[0]["hr"].shape == (3, 48, 44)


def test_synthetic_faces_are_deterministic_and_differ() -> None:
    ours, again, other = DrawnFaces(3, 64, 0), DrawnFaces(3, 64, 0), DrawnFaces(3, 64, 1)
    assert torch.equal(ours.images, again.images)
    assert not torch.equal(ours.images, other.images)
    assert not torch.equal(ours.read(0), ours.read(1))
    data = SyntheticData(6, 2, 64, degradation=Bicubic(4), batch_size=3, num_workers=0)
    assert_contract(batch_of(data), (3, 3, 64, 64), (3, 3, 16, 16))


def test_synthetic_faces_hold_detail_that_bicubic_loses() -> None:
    hr = DrawnFaces(6, 128, 0).images / 255
    lr = Bicubic(4)(hr, torch.zeros(6))
    up = torch.nn.functional.interpolate(lr, scale_factor=4, mode="bicubic", antialias=True)
    psnr = -10 * torch.log10((up - hr).square().mean(dim=(1, 2, 3)))
    assert psnr.mean() < 31  # faces of CelebA: about 25 to 29
    assert hr.mean(dim=(0, 2, 3)).sub(0.45).abs().max() < 0.2  # neither dark nor tinted


def test_fingerprints_follow_the_data_and_not_its_place(photos: Photos, celeba: Path, tmp_path: Path) -> None:
    first = ImageFolder(photos("here", 3), "x")
    assert fingerprint(first) == fingerprint(ImageFolder(photos("there", 3), "x"))
    before = fingerprint(first, times=True)
    os.utime(first.paths[0], ns=(0, 0))
    assert fingerprint(first, times=True) != before
    first.paths[0].write_bytes(first.paths[0].read_bytes() + b" ")
    assert fingerprint(first) != fingerprint(ImageFolder(tmp_path / "there", "x"))
    prints = {fingerprint(CelebA(celeba, "val", (64, 64), fit)) for fit in ("square", "squash")}
    prints |= {fingerprint(CelebA(celeba, "train", (64, 64), "square")), fingerprint(DrawnFaces(3, 64, 0))}
    prints |= {fingerprint(DrawnFaces(3, 64, 1)), fingerprint(DrawnFaces(4, 64, 0))}
    assert len(prints) == 6


def test_skip_puts_another_image_in_a_broken_ones_place(photos: Photos) -> None:
    folder = photos("good", 6)
    arguments: dict[str, Any] = {"degradation": Bicubic(4), "crop": 32, "batch_size": 6, "on_error": "skip"}

    def first(workers: int) -> tuple[dict[str, torch.Tensor], int]:
        for name, whole in content.items():
            (folder / name).write_bytes(whole)
        data = FolderData(str(folder), str(folder), num_workers=workers, **arguments)
        data.setup("fit")
        for name in ("photo1.png", "photo4.png"):
            (folder / name).write_bytes(content[name][:90])  # truncated after its header, once that was checked
        batch = data.on_before_batch_transfer(next(iter(data.train_dataloader())), 0)
        return batch, data.skipped

    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.warns(UserWarning, match=r"photo[14]\.png cannot be read") as told:
        batch, skipped = first(0)
    assert len([warning for warning in told if "photo" in str(warning.message)]) == 2
    assert skipped >= 2
    assert not {1, 4} & set(batch["index"].tolist())
    again, same = first(1)
    assert same == skipped
    assert all(torch.equal(batch[key], again[key]) for key in batch)


def test_skip_leaves_unfit_files_out_at_the_start(photos: Photos) -> None:
    folder = photos("good", 4)
    photos("good/small", 1, (20, 20))
    (folder / "text.png").write_text("no image")
    data = FolderData(str(folder), str(folder), degradation=Bicubic(4), crop=32, batch_size=2, on_error="skip")
    with pytest.warns(UserWarning, match=r"1 of \d images left out") as told:
        data.setup("fit")
    assert any("text.png" in str(warning.message) for warning in told)
    assert any("small/photo0.png is 20x20" in str(warning.message) for warning in told)
    assert len(data.sources["train"]) == 4
    for path in folder.rglob("photo*.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"No image in .* can be used"):
        FolderData(str(folder), str(folder), degradation=Bicubic(4), crop=32, on_error="skip").setup("fit")


def test_skip_leaves_broken_pairs_out(photos: Photos) -> None:
    hr, lr = photos("hr", 4, (48, 48)), photos("lr", 4, (12, 12))
    (lr / "photo2.png").write_text("no image")
    with pytest.raises(UserError, match=r"photo2\.png cannot be read"):
        PairedData(*(str(hr), str(lr)) * 2, degradation=Bicubic(4), crop=32).setup("fit")
    data = PairedData(*(str(hr), str(lr)) * 2, degradation=Bicubic(4), crop=32, batch_size=2, on_error="skip")
    with pytest.warns(UserWarning, match="1 of 4 images left out"):
        data.setup("fit")
    assert [path.stem for path in data.sources["train"].paths] == ["photo0", "photo1", "photo3"]  # type: ignore[attr-defined]


def test_validation_skips_alike_on_every_process(photos: Photos) -> None:
    folder = photos("val", 5)
    for name in ("photo1.png", "photo4.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:90])
    dataset = ValidationSet(ImageFolder(folder, "x"), 4, "skip")
    # A replacement keeps its own index, so that the scores count it once.
    with pytest.warns(UserWarning, match="cannot be read"):
        indices = [dataset[index]["index"] for index in range(5)]
    assert indices == [0, 2, 2, 3, 0]
    for path in folder.iterdir():
        path.write_text("no image")
    with pytest.raises(UserError, match="5 images in a row"), pytest.warns(UserWarning, match="its format is unknown"):
        ValidationSet(ImageFolder(folder, "x"), 4, "skip")[0]


@pytest.mark.parametrize("kind", ["colour", "grey", "turned", "cmyk", "progressive"])
def test_jpeg_decodes_as_pil_does(kind: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((61, 47), Image.Resampling.BICUBIC)
    image = image.convert({"grey": "L", "cmyk": "CMYK"}.get(kind, "RGB"))
    exif = Image.Exif()
    exif[0x0112] = 6 if kind == "turned" else 1
    path = tmp_path / "image.jpg"
    image.save(path, exif=exif, progressive=kind == "progressive")
    assert torch.equal(decode(path.read_bytes(), "x"), to_tensor(open_image(path, "x")))


@settings(max_examples=60, deadline=None)
@given(where=st.integers(0, 10**6), what=st.binary(min_size=1, max_size=4), keep=st.integers(1, 10**6))
def test_damaged_jpegs_are_read_as_pil_reads_them_or_refused(where: int, what: bytes, keep: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    data = bytearray(file.getvalue())
    where %= len(data)
    data[where : where + len(what)] = what
    damaged = bytes(data[: keep % (2 * len(data))])
    results: list[torch.Tensor | None] = []
    for read in (decode, lambda data, name: to_tensor(open_image(io.BytesIO(data), name))):
        try:
            results.append(read(damaged, "x"))
        except UserError:
            results.append(None)
    ours, pil = results
    assert (ours is None) == (pil is None)
    assert ours is None or pil is None or torch.equal(ours, pil)
