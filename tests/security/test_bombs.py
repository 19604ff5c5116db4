"""Archives, images and options that need too much memory are refused before they take it."""

import io
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import png
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image

from srgan_lightning.check_data import check_data
from srgan_lightning.data.celeba import CelebA
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.folder import FolderData
from srgan_lightning.data.synthetic.datamodule import SyntheticData
from srgan_lightning.imaging.files import read_picture
from srgan_lightning.imaging.picture import Picture
from srgan_lightning.imaging.reading import MAX_PIXELS, image_size, open_image, to_tensor
from srgan_lightning.inference.inputs import Job
from srgan_lightning.inference.predict import upscale_files
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.networks import Discriminator, Generator
from srgan_lightning.training.preflight import check_batches_fit
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY, TINY_FACES
from tests.helpers.generators import tiny_generator


def celeba_zip(root: Path, members: dict[str, bytes]) -> Path:
    (root / "list_eval_partition.txt").write_text("1.jpg 0\n")
    with zipfile.ZipFile(root / "img_align_celeba.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return root


@pytest.mark.parametrize("evil", ["../evil", "/etc/evil", "img_align_celeba/../../evil", "..\\evil", "C:/evil"])
def test_archives_that_write_outside_are_refused(tmp_path: Path, evil: str) -> None:
    celeba_zip(tmp_path, {"img_align_celeba/1.jpg": b"", evil: b""})
    with pytest.raises(UserError, match="leads out of its folder"):
        CelebA(tmp_path, "train", (64, 64), "square")


def test_archive_members_are_bounded_and_broken_ones_named(tmp_path: Path, little_memory: None) -> None:
    name = "img_align_celeba/1.jpg"
    source = CelebA(celeba_zip(tmp_path, {name: bytes(2**28 + 1)}), "train", (64, 64), "square")
    with pytest.raises(UserError, match=r"1\.jpg unpacks to 268,435,457 bytes"):
        source.read(0)
    archive = celeba_zip(tmp_path, {name: os.urandom(999)}) / "img_align_celeba.zip"
    content = bytearray(archive.read_bytes())
    content[200:210] = bytes(10)
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"1\.jpg cannot be read"):
        CelebA(tmp_path, "train", (64, 64), "square").read(0)


def test_torchvisions_unpacking_stays_inside(tmp_path: Path) -> None:
    """torchvision unpacks the download after its checksum. Even so, no member is written outside the folder."""
    from torchvision.datasets.utils import extract_archive

    (tmp_path / "deep/inside").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "deep/inside/a.zip", "w") as archive:
        archive.writestr("../../evil.jpg", b"")
        archive.writestr(str(tmp_path / "evil2.jpg"), b"")
    extract_archive(str(tmp_path / "deep/inside/a.zip"))
    assert not list(tmp_path.glob("evil*"))
    assert not list((tmp_path / "deep").glob("evil*"))


@pytest.mark.parametrize("lines", ["../../x 0", "/etc/passwd 0", "..\\x 0", ".. 0", "a\0b 0", "1.jpg 0\n1.jpg 1"])
def test_partition_lines_that_lead_out_are_refused(tmp_path: Path, lines: str) -> None:
    (tmp_path / "img_align_celeba").mkdir()
    (tmp_path / "list_eval_partition.txt").write_text(lines)
    with pytest.raises(UserError, match="list_eval_partition"):
        CelebA(tmp_path, "train", (64, 64), "square")


def png_bomb(side: int, bits: int = 8) -> bytes:
    buffer = io.BytesIO()
    header = struct.pack(">IIBBBBB", side, side, bits, 2, 0, 0, 0)
    png.write_chunks(buffer, [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")])
    return buffer.getvalue()


def webp_bomb() -> bytes:
    """Return a VP8X file of 16384x16384, the format's maximum, without a frame."""
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0]) + b"\xff\x3f\0" * 2
    body += b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff_bomb(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "TIFF")
    content = bytearray(buffer.getvalue())
    for tag in (256, 257):  # width and height, in the directory of a little-endian file
        place = content.index(struct.pack("<HHI", tag, 4, 1))
        content[place + 8 : place + 12] = struct.pack("<I", side)
    return bytes(content)


BOMBS = {
    "little_over.png": png_bomb(9460),  # above the limit, but below PIL's own
    "far_over.png": png_bomb(60_000),
    "deep.png": png_bomb(9460, 16),
    "bomb.webp": webp_bomb(),
    "bomb.tif": tiff_bomb(10_000),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.filterwarnings("error")
def test_image_bombs_are_refused_by_every_reader(tmp_path: Path, name: str, little_memory: None) -> None:
    path = tmp_path / name
    path.write_bytes(BOMBS[name])
    said = "cannot be read" if name == "bomb.webp" else f"maximum of {MAX_PIXELS:,}"  # WebP needs its frame first
    readers: list[Callable[[], Any]] = [
        lambda: open_image(path, str(path)),
        lambda: open_image(io.BytesIO(BOMBS[name]), name),
        lambda: image_size(path),
        lambda: read_picture(path),
        lambda: FolderData(str(tmp_path), str(tmp_path), degradation=Bicubic(4), crop=32).setup("fit"),
    ]
    for read in readers:
        with pytest.raises(UserError, match=said):
            read()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_holds_in_threads_too(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(BOMBS["little_over.png"])
    refused: list[bool] = []

    def read() -> None:
        for _ in range(50):
            try:
                open_image(tmp_path / "bomb.png", "bomb")
            except UserError as error:
                refused.append("bomb" in str(error))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [True] * 200


def test_deep_pngs_cannot_unpack_to_more_than_their_pixels(tmp_path: Path, little_memory: None) -> None:
    """The file has 8 gigabytes of zeros behind the header of a 4x4 image."""
    compressor = zlib.compressobj()
    first, again = (compressor.compress(bytes(2**20)) + compressor.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    data = first + again * 2**13
    with (tmp_path / "deep.png").open("wb") as file:
        header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
        png.write_chunks(file, [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")])
    with pytest.raises(UserError, match="decompression bomb"):
        read_picture(tmp_path / "deep.png")


@pytest.mark.parametrize("mode", ["LAB", "F"])
def test_odd_modes_are_read(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (40, 40)).save(tmp_path / "odd.tif")
    assert to_tensor(open_image(tmp_path / "odd.tif", "odd")).shape == (3, 40, 40)


def test_huge_options_are_refused_before_memory_is_taken(tmp_path: Path, little_memory: None) -> None:
    tiny = tiny_generator()
    faces: dict[str, Any] = {"degradation": Bicubic(4)}
    jobs = [Job(tmp_path / f"{number}.png", tmp_path / f"{number}_x4.png") for number in range(10**4)]
    attempts: list[tuple[Callable[[], Any], str]] = [
        (lambda: Generator(channels=10**6), "channels=1000000"),
        (lambda: Generator(blocks=10**9), "blocks=1000000000"),
        (lambda: Discriminator(channels=10**6), "channels=1000000"),
        (lambda: Discriminator(hidden=10**9), "hidden=1000000000"),
        (lambda: Discriminator(grid=10**5), "grid=100000"),
        (lambda: Bicubic(10**9), "scale=1000000000"),
        (lambda: Bicubic(0), "scale=0"),
        (lambda: TiledUpscaler(tiny, tile=100_000), "tile=100000"),
        (lambda: TiledUpscaler(tiny, overlap=10**9), "overlap=1000000000"),
        (lambda: upscale_files(jobs, TiledUpscaler(tiny), torch.device("cpu"), 10**4), "--jobs 10000"),
        (lambda: SyntheticData(10**9, 4, 128, **faces), "data.train_images=1000000000"),
        (lambda: SyntheticData(4, 4, 10**6, **faces), "data.size=1000000"),
        (lambda: SyntheticData(0, 4, 128, **faces), "data.train_images=0"),
        (lambda: SyntheticData(4, 4, 64, num_workers=10**6, **faces), "data.num_workers=1000000"),
        (lambda: instantiate({"_target_": "srgan_lightning.data.celeba.CelebAData", "root": "x", "size": [10**5, 10**5],
                              "fit": "square"}, **faces), "data.size="),
    ]  # fmt: skip
    for attempt, words in attempts:
        with pytest.raises(Exception, match=words) as caught:
            attempt()
        cause = caught.value.__cause__ or caught.value
        assert isinstance(cause, UserError), words


def test_pictures_whose_results_never_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    upscaler = TiledUpscaler(tiny_generator())
    monkeypatch.setattr("srgan_lightning.inference.upscaling.available_memory", lambda: 16 * 3 * 100 * 100 - 1)
    with pytest.raises(UserError, match="its result would take"):
        upscaler.upscale(Picture(np.zeros((100, 100, 3), np.uint8)))


def test_tiles_that_never_fit_are_not_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = Picture(np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8))
    generator = tiny_generator()
    expected = TiledUpscaler(generator, tile=25).upscale(picture).colour
    upscaler = TiledUpscaler(generator, tile=0)
    monkeypatch.setattr("srgan_lightning.inference.upscaling.memory_of", lambda device: 900_000)
    assert np.abs(upscaler.upscale(picture).colour.astype(int) - expected).max() <= 1
    assert upscaler.tile == 50
    assert "continuing with 50" in capsys.readouterr().err


def test_batches_that_never_fit_are_refused(configure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = configure("experiment=srresnet_celeba", "data=synthetic", *TINY, *TINY_FACES, "data.batch_size=4")
    data, model = instantiate(cfg.data, degradation=Bicubic(4)), instantiate(cfg.model, loss=instantiate(cfg.loss))
    data.setup("fit")
    check_batches_fit(data, model, on_cpu=True)
    monkeypatch.setattr("srgan_lightning.training.preflight.memory_of", lambda device: 4 * 32 * 32 * 8 * 4 - 1)
    with pytest.raises(UserError, match=r"data\.batch_size=4: 4 images of 32x32"):
        check_batches_fit(data, model, on_cpu=True)
    monkeypatch.setattr("srgan_lightning.training.preflight.memory_of", lambda device: 4 * 32 * 32 * 8 * 4)
    with pytest.raises(UserError, match=r"data\.val_batch_size=2: 2 images of 64x64"):
        check_batches_fit(data, model, on_cpu=True)


def test_check_data_survives_all_of_them(tmp_path: Path, configure: Callable[..., Any]) -> None:
    from hydra import compose, initialize_config_dir

    from srgan_lightning.cli.config import config_dir

    for name, content in BOMBS.items():
        (tmp_path / name).write_bytes(content)
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        report = check_data(compose("check_data", [f"data.train_dir={tmp_path}"]))
    assert report["errors"] == len(BOMBS)
    assert {finding["kind"] for finding in report["findings"]} == {"unreadable"}
