"""`data.cache=memmap`: the same images, built once, also after interruptions."""

import json
import multiprocessing
import os
import pickle
import shutil
import signal
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from srgan_lightning.data import cache
from srgan_lightning.data.cache import CachedSource, cached
from srgan_lightning.data.celeba import CelebA
from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.fingerprint import fingerprint
from srgan_lightning.data.folder import FolderData, ImageFolder, PairedData
from srgan_lightning.data.synthetic.datamodule import SyntheticData
from srgan_lightning.train import train
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY_FACES, TINY_SRGAN

Photos = Callable[..., Path]
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def mixed(photos: Photos, tmp_path: Path) -> ImageFolder:
    """Write nine photos of three sizes and two formats."""
    photos("mixed/a", 3, (48, 40))
    photos("mixed/b", 3, (33, 64), ".jpg")
    photos("mixed/c", 3, (50, 50))
    return ImageFolder(tmp_path / "mixed", "x")


def folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cache_holds_the_same_images(mixed: ImageFolder, tmp_path: Path, workers: int) -> None:
    source = cached(mixed, tmp_path / "cache", workers)
    assert len(source) == 9
    for index in range(9):
        assert torch.equal(source.read(index), mixed.read(index))
        assert source.name(index) == mixed.name(index)
    assert fingerprint(source) == fingerprint(mixed)
    source.verify()
    assert torch.equal(pickle.loads(pickle.dumps(source)).read(4), mixed.read(4))


def test_reading_copies_nothing(mixed: ImageFolder, tmp_path: Path) -> None:
    source = cached(mixed, tmp_path / "cache", 0)
    crop = source.read(4)[:, 3:19, 5:21]
    assert crop.untyped_storage().data_ptr() == source.pixels.untyped_storage().data_ptr()


def test_a_cache_is_built_once_and_follows_its_source(mixed: ImageFolder, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    cached(mixed, root, 0)
    (first,) = folders(root)
    before = (first / "pixels.bin").stat().st_mtime_ns
    cached(ImageFolder(mixed.root, "x"), root, 0)
    assert folders(root) == [first]
    assert (first / "pixels.bin").stat().st_mtime_ns == before
    Image.new("RGB", (48, 48), (200, 0, 0)).save(mixed.paths[0])
    assert cached(mixed, root, 0).read(0)[0].min() == 200
    assert len(folders(root)) == 2


def test_other_transform_arguments_make_another_cache(shared: Callable[[str], Path], tmp_path: Path) -> None:
    for size, fit in (((64, 64), "square"), ((64, 64), "squash"), ((48, 48), "square")):
        source = CelebA(shared("data/celeba_sample"), "val", size, fit)  # type: ignore[arg-type]
        assert torch.equal(cached(source, tmp_path, 0).read(1), source.read(1))
    assert len(folders(tmp_path)) == 3


def build(source: ImageFolder, root: Path, dies_at: int | None) -> None:
    """Cache a source image by image in another process, which is killed before one of them."""
    cache.FLUSH, cache._check_space = 1, lambda *_: None  # the check would read some images
    original = ImageFolder.read

    def read(self: ImageFolder, index: int) -> torch.Tensor:
        if index == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, index)

    ImageFolder.read = read  # type: ignore[method-assign]
    cached(source, root, 0)


def test_a_killed_build_continues_where_it_stopped(mixed: ImageFolder, tmp_path: Path, monkeypatch: Any) -> None:
    root = tmp_path / "cache"
    killed = FORK.Process(target=build, args=(mixed, root, 5))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    (partial,) = folders(root)
    assert partial.suffix == ".partial"
    assert (partial / "index.bin").stat().st_size == 5 * 24
    with (partial / "index.bin").open("ab") as index, (partial / "pixels.bin").open("ab") as pixels:
        index.write(b"half a row")
        pixels.write(b"half an image")
    read: list[int] = []
    original = ImageFolder.read
    monkeypatch.setattr(ImageFolder, "read", lambda self, index: read.append(index) or original(self, index))
    monkeypatch.setattr(cache, "_check_space", lambda *_: None)
    source = cached(mixed, root, 0)
    assert read == [5, 6, 7, 8]
    monkeypatch.undo()
    source.verify()
    assert all(torch.equal(source.read(index), mixed.read(index)) for index in range(9))


def test_lost_pixels_are_decoded_again(mixed: ImageFolder, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    cached(mixed, root, 0)
    (folder,) = folders(root)
    partial = folder.rename(folder.with_suffix(".partial"))
    with (partial / "pixels.bin").open("r+b") as pixels:
        pixels.truncate(20000)  # the index promises more, as after a power cut
    source = cached(mixed, root, 0)
    source.verify()
    assert torch.equal(source.read(8), mixed.read(8))


@pytest.mark.parametrize("file", ["cache.json", "index.bin", "pixels.bin"])
def test_a_cut_cache_is_refused(mixed: ImageFolder, tmp_path: Path, file: str) -> None:
    folder = cached(mixed, tmp_path / "cache", 0).folder
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:-3])
    with pytest.raises(UserError, match=r"is damaged.*Delete that folder"):
        CachedSource(mixed, folder)


def test_a_flipped_bit_is_found(mixed: ImageFolder, tmp_path: Path) -> None:
    source = cached(mixed, tmp_path / "cache", 0)
    with (source.folder / "pixels.bin").open("r+b") as pixels:
        pixels.seek(int(source.ends[2]) + 7)
        byte = pixels.read(1)[0]
        pixels.seek(int(source.ends[2]) + 7)
        pixels.write(bytes([byte ^ 1]))
    with pytest.raises(UserError, match=rf"1 images differ.*{mixed.name(3)}"):
        cached(mixed, tmp_path / "cache", 0).verify()


def test_a_full_disk_is_reported_before_and_during_the_build(
    mixed: ImageFolder, tmp_path: Path, monkeypatch: Any
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12 - 1000, 1000))
    with pytest.raises(UserError, match=r"needs about 0\.0 GB .*data\.cache_dir"):
        cached(mixed, tmp_path / "cache", 0)
    monkeypatch.undo()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_save", full)
    with pytest.raises(UserError, match=r"No space left on device.*finished images are kept"):
        cached(mixed, tmp_path / "cache", 0)
    monkeypatch.undo()
    assert len(cached(mixed, tmp_path / "cache", 0)) == 9


def test_broken_images_end_the_build_or_are_left_out(mixed: ImageFolder, tmp_path: Path) -> None:
    mixed.paths[3].write_bytes(mixed.paths[3].read_bytes()[:400])
    with pytest.raises(UserError, match=mixed.name(3)):
        cached(mixed, tmp_path / "cache", 1)
    with pytest.warns(UserWarning, match=mixed.name(3)):
        source = cached(mixed, tmp_path / "cache", 0, "skip")
    assert torch.equal(source.read(4), mixed.read(4))
    with pytest.raises(UserError, match=r"could not be read when .* was built"):
        source.read(3)


def test_a_cache_without_a_readable_image_is_refused(mixed: ImageFolder, tmp_path: Path) -> None:
    for path in mixed.paths:
        path.write_bytes(b"no image")
    with (
        pytest.warns(UserWarning, match="on_error=skip"),
        pytest.raises(UserError, match="None of the 9 images can be read"),
    ):
        cached(mixed, tmp_path / "cache", 0, "skip")


def test_two_processes_build_one_cache(mixed: ImageFolder, tmp_path: Path) -> None:
    builders = [FORK.Process(target=build, args=(mixed, tmp_path / "cache", None)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)
        assert builder.exitcode == 0
    (folder,) = folders(tmp_path / "cache")
    CachedSource(mixed, folder).verify()


@pytest.mark.slow
def test_a_cached_training_is_that_of_the_files(configure: Callable[..., DictConfig], tmp_path: Path) -> None:
    quick = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=2", "data.num_workers=1"]
    plain = train(configure(*quick, run="plain"))
    memmap = [f"data.cache_dir={tmp_path}/cache", "data.cache=memmap", "data.verify_cache=true"]
    assert train(configure(*quick, *memmap, run="cached"))["psnr_y"] == plain["psnr_y"]
    header = json.loads(next((tmp_path / "cache").glob("*/cache.json")).read_text())
    assert header["bytes"] in (8 * 3 * 64 * 64, 3 * 3 * 64 * 64)


def test_settings_are_checked(photos: Photos) -> None:
    arguments: dict[str, Any] = {"degradation": Bicubic(4), "cache": "memmap"}
    with pytest.raises(UserError, match=r"data\.cache does not work with data=pairs"):
        PairedData("a", "b", "c", "d", **arguments)
    for name, value in (("cache", "ram"), ("on_error", "ignore")):
        with pytest.raises(UserError, match=rf"data\.{name}='{value}' is unknown"):
            SyntheticData(4, 4, 64, **{**arguments, name: value})


def test_crops_come_from_the_cache(photos: Photos, tmp_path: Path) -> None:
    def first(**options: Any) -> dict[str, torch.Tensor]:
        folder = str(photos("train", 6, (48, 60)))
        data: SuperResolutionData = FolderData(
            folder, folder, degradation=Bicubic(4), crop=32, batch_size=6, num_workers=1, rotate=True, **options
        )
        data.prepare_data()
        data.setup("fit")
        return dict(next(iter(data.train_dataloader())))

    ours, plain = first(cache="memmap", cache_dir=str(tmp_path / "cache")), first()
    assert ours.keys() == plain.keys()
    assert all(torch.equal(ours[key], plain[key]) for key in ours)
