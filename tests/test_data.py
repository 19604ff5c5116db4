"""Every data group: what it reads, cuts, and refuses."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import default_collate

from srgan_lightning.data.augmentation import augment, draw_augmentation
from srgan_lightning.data.celeba import CelebA, CelebAData, read_partition
from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.data.datasets import SeededSampler, TrainingSet, ValidationSet
from srgan_lightning.data.degradation import Bicubic, Blur
from srgan_lightning.data.fingerprint import fingerprint
from srgan_lightning.data.folder import FolderData, ImageFolder, PairedData, pair_key
from srgan_lightning.data.images import decode, open_image, to_tensor
from srgan_lightning.data.synthetic import DrawnFaces, SyntheticData
from srgan_lightning.errors import UserError

Photos = Callable[..., Path]


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """Eight photos in CelebA's layout: gradients, red growing to the right and green downwards."""
    root = tmp_path / "celeba"
    (root / "img_align_celeba").mkdir(parents=True)
    y, x = np.mgrid[:218, :178]
    photo = np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)
    for i in range(1, 9):
        Image.fromarray(photo).save(root / "img_align_celeba" / f"{i:06d}.jpg", quality=100, subsampling=0)
    lines = [f"{i:06d}.jpg {0 if i < 6 else 1 if i < 8 else 2}" for i in range(1, 9)]
    (root / "list_eval_partition.txt").write_text("\n".join(lines))
    return root


def batch_of(data: SuperResolutionData, stage: str = "train") -> dict[str, torch.Tensor]:
    """The first batch as a module would get it."""
    data.setup("fit")
    loader = data.train_dataloader() if stage == "train" else data.val_dataloader()
    raw = next(iter(loader))
    assert raw["hr"].dtype == torch.uint8  # the loader ships bytes
    return data.on_after_batch_transfer(data.on_before_batch_transfer(raw, 0), 0)


def assert_contract(batch: dict[str, torch.Tensor], hr: tuple[int, ...], lr: tuple[int, ...]) -> None:
    for name, shape in (("hr", hr), ("lr", lr)):
        assert batch[name].shape == shape
        assert batch[name].dtype == torch.float32
        assert batch[name].min() >= 0
        assert batch[name].max() <= 1
        torch.testing.assert_close(batch[name] * 255, (batch[name] * 255).round(), atol=1e-3, rtol=0)


class Ramp:
    """One image whose red grows by 1 and green by 0.5 a pixel to the right: shrinking steepens both."""

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
    packed = tmp_path / "packed" / "celeba"  # torchvision's place is root/celeba
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


def test_missing_celeba_says_where_and_how(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"looked in .*data\.download=true.*experiment=quickstart"):
        CelebA(tmp_path, "train", (64, 64), "square")


def test_failed_download_says_what_to_place_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_folder_searches_recursively_and_crops(photos: Photos, tmp_path: Path) -> None:
    photos("train", 3, (40, 60))
    photos("train/more/deep", 2, (60, 40), ".jpg")
    (tmp_path / "train" / "notes.txt").write_text("no photo")
    val = photos("val", 2, (45, 38))
    data = FolderData(
        str(tmp_path / "train"), str(val), degradation=Bicubic(4), crop=32, batch_size=5, rotate=True, num_workers=0
    )
    assert_contract(batch_of(data), (5, 3, 32, 32), (5, 3, 8, 8))
    assert_contract(batch_of(data, "val"), (1, 3, 44, 36), (1, 3, 11, 9))  # whole, but for the rest of the scale


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
    assert (again - batch["lr"])[..., 2:-2, 2:-2].abs().max() < 2 / 255  # but for the border that the crop changes


def test_pairs_that_do_not_fit_are_refused(photos: Photos) -> None:
    hr, lr = photos("hr", 3, (48, 48)), photos("lr", 3, (12, 16))
    with pytest.raises(UserError, match=r"16x12 .* 48x48: with scale=4 LR must be 12x12"):
        PairedData(*(str(hr), str(lr)) * 2, degradation=Bicubic(4)).setup("fit")
    (lr / "photo2.png").unlink()
    with pytest.raises(UserError, match=r"photo2\.png has no LR"):
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
        (good, 30, r"cannot be divided by scale=4; 28x28 would do"),
    ):
        with pytest.raises(UserError, match=words):
            FolderData(train_dir, good, degradation=Bicubic(4), crop=crop, batch_size=2).setup("fit")
    with pytest.raises(UserError, match=r"4 images but one step takes 16.*data\.batch_size"):
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


def test_samples_follow_from_their_seed_alone(photos: Photos) -> None:
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
    draws = [dataset[i]["draw"] for i in range(5)]
    assert draws == [dataset[i]["draw"] for i in range(5)]
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
            (folder / name).write_bytes(content[name][:90])  # cut short after its header, once that was checked
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
    with pytest.raises(UserError, match=r"No image of .* can be used"):
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
    # A stand-in comes under its own index, which the scores count once.
    with pytest.warns(UserWarning, match="cannot be read"):
        indices = [dataset[index]["index"] for index in range(5)]
    assert indices == [0, 2, 2, 3, 0]
    for path in folder.iterdir():
        path.write_text("no image")
    with pytest.raises(UserError, match="5 images in turn"), pytest.warns(UserWarning, match="its format is unknown"):
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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_augmentation_on_a_gpu_is_that_on_the_cpu() -> None:
    images = torch.randint(0, 256, (16, 3, 12, 12), dtype=torch.uint8)
    drawn = [draw_augmentation(np.random.default_rng(seed), True, True, True, square=True) for seed in range(16)]
    batch = default_collate(drawn)
    on_gpu = augment(images.cuda(), {name: value.cuda() for name, value in batch.items()})
    assert torch.equal(on_gpu.cpu(), augment(images, batch))
