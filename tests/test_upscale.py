"""`upscale`: every kind of image, broken ones, kills, and tiles that cannot be told from the whole."""

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import png
import pytest
import torch
from PIL import Image, ImageCms

from srgan_lightning import upscale_image
from srgan_lightning.inference.picture import Picture, from_pil
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.upscale import main
from tests.generators import tiny_artifact, tiny_generator

RAMP = np.linspace(0, 255, 21 * 17).reshape(21, 17).astype(np.uint8)
RGB = Image.fromarray(np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=-1))


@pytest.fixture
def upscale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process with a tiny artifact; gives exit code, stdout, stderr."""
    weights = tiny_artifact(tmp_path, global_skip="bicubic")

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([*map(str, arguments), "--weights", str(weights), "--device", "cpu"])
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("skip", ["none", "bicubic"])
@pytest.mark.parametrize("tile", [16, 23, 64])
def test_tiles_equal_the_whole(skip: str, tile: int) -> None:
    generator = tiny_generator(global_skip=skip)
    picture = Picture(np.random.default_rng(0).integers(0, 256, (53, 71, 3), dtype=np.uint8))
    whole = TiledUpscaler(generator, tile=0).upscale(picture).colour
    tiled = TiledUpscaler(generator, tile=tile).upscale(picture).colour
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    lr = torch.from_numpy(picture.colour).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        plain = generator(lr).clamp(0, 1).mul(255).round()[0].permute(1, 2, 0).numpy()
    assert np.abs(whole.astype(int) - plain).max() <= 1


def test_real_weights_in_tiles_equal_the_whole(shared: Callable[[str], Path]) -> None:
    from srgan_lightning.networks import Generator

    torch.manual_seed(0)
    generator = Generator(16, 16, global_skip="bicubic")  # the paper's depth, so the paper's reach
    torch.nn.init.normal_(generator.tail.weight, 0, 0.05)
    with Image.open(shared("data/Set5/LR_bicubic_x4") / "baby.png") as image:
        whole, tiled = (np.asarray(upscale_image(image, generator.eval(), tile=tile)).astype(int) for tile in (0, 48))
    assert np.abs(whole - tiled).max() <= 1


def test_out_of_memory_halves_the_tile_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upscaler = TiledUpscaler(tiny_generator(), tile=64, overlap=4)
    real = upscaler._super_resolve

    def short_of_memory(lr: torch.Tensor) -> torch.Tensor:
        if max(lr.shape[-2:]) > 40:
            raise torch.OutOfMemoryError("out of memory")
        return real(lr)

    monkeypatch.setattr(upscaler, "_super_resolve", short_of_memory)
    picture = Picture(np.random.default_rng(0).integers(0, 256, (70, 60, 3), dtype=np.uint8))
    assert upscaler.upscale(picture).colour.shape == (280, 240, 3)
    assert upscaler.tile == 32
    assert "going on with 32" in capsys.readouterr().err


def test_every_kind_of_image_stays_what_it_is(upscale: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deeper").mkdir(parents=True)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a description", 6
    alpha = RGB.copy()
    alpha.putalpha(Image.fromarray(255 - RAMP))
    RGB.save(folder / "deeper/colour.png", icc_profile=profile)
    RGB.convert("L").save(folder / "grey.png")
    RGB.convert("1").save(folder / "bits.png")
    alpha.save(folder / "alpha.png")
    alpha.convert("LA").save(folder / "greyalpha.png")
    RGB.quantize(64).save(folder / "palette.png")
    RGB.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(folder / "deepgrey.png")
    deep = np.random.default_rng(0).integers(0, 65536, (21, 17, 3), dtype=np.uint16)
    with (folder / "deep.png").open("wb") as file:
        png.Writer(17, 21, greyscale=False, bitdepth=16).write(file, deep.reshape(21, -1).tolist())
    RGB.save(folder / "turned.jpg", exif=exif)
    RGB.crop((0, 0, 1, 1)).save(folder / "one.png")
    code, said, err = upscale(folder, "-o", out)
    assert code == 0, err
    assert "11 of 11" in said
    modes = {}
    for path in out.rglob("*_x4.*"):
        with Image.open(path) as image:
            image.load()
            modes[path.relative_to(out).as_posix()] = (image.mode, image.size)
    assert modes == {
        "deeper/colour_x4.png": ("RGB", (68, 84)),
        "grey_x4.png": ("L", (68, 84)),
        "bits_x4.png": ("L", (68, 84)),
        "alpha_x4.png": ("RGBA", (68, 84)),
        "greyalpha_x4.png": ("LA", (68, 84)),
        "palette_x4.png": ("RGB", (68, 84)),
        "cmyk_x4.jpg": ("RGB", (68, 84)),
        "deepgrey_x4.png": ("I;16", (68, 84)),
        "deep_x4.png": ("RGB", (68, 84)),
        "turned_x4.jpg": ("RGB", (84, 68)),
        "one_x4.png": ("RGB", (4, 4)),
    }
    assert "CMYK" in err
    with Image.open(out / "deeper/colour_x4.png") as image:
        assert image.info["icc_profile"] == profile
    with Image.open(out / "turned_x4.jpg") as image:
        assert image.getexif()[0x010E] == "a description"
        assert image.getexif().get(0x0112, 1) == 1  # turned once, not twice
    width, height, rows, info = png.Reader(str(out / "deep_x4.png")).read()
    assert (width, height, info["bitdepth"], info["planes"]) == (68, 84, 16, 3)
    values = np.array([list(row) for row in rows])
    assert len(np.unique(values % 257)) > 1  # truly 16 bits, not 8 spread out


def test_alpha_can_be_dropped_and_formats_chosen(upscale: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    RGB.convert("RGBA").save(tmp_path / "a.png")
    assert upscale(tmp_path / "a.png", "-o", tmp_path / "out", "--alpha", "drop")[0] == 0
    code, _, err = upscale(tmp_path / "a.png", "-o", tmp_path / "out", "--format", "jpg")
    assert code == 0
    assert "alpha" in err  # said, because JPEG has none
    with Image.open(tmp_path / "out/a_x4.png") as dropped, Image.open(tmp_path / "out/a_x4.jpg") as jpeg:
        assert dropped.mode == jpeg.mode == "RGB"


def bomb() -> bytes:
    """A PNG whose header claims 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_broken_files_stop_nothing_and_are_named(upscale: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    RGB.save(folder / "good1.png")
    RGB.save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:400])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no image")
    (folder / "bomb.png").write_bytes(bomb())
    RGB.crop((0, 0, 1, 1)).save(folder / "one.png")
    RGB.save(folder / "zgood.png")
    code, said, err = upscale(folder, "-o", out)
    assert code == 1
    assert "3 of 7" in said
    assert sorted(path.name for path in out.iterdir()) == ["good1_x4.png", "one_x4.png", "zgood_x4.png"]
    for name in ("cut.jpg", "empty.png", "text.png", "bomb.png"):
        assert name in err
    assert "decompression bomb" in err
    assert "Traceback" not in err


def test_mistakes_are_told(upscale: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    RGB.save(tmp_path / "a.png")
    RGB.save(tmp_path / "a.jpg")
    out = tmp_path / "out"
    for arguments, word in (
        (["nowhere.png"], "nowhere.png"),
        ([tmp_path / "a.png", "--tile", "3"], "tile=3"),
        ([tmp_path / "a.png", tmp_path / "a.jpg", "--format", "png"], "both be written"),
    ):
        code, _, err = upscale(*arguments, "-o", out)
        assert code == 1
        assert word in err
    assert not out.exists()
    with pytest.raises(SystemExit) as stop:
        main(["a.png"])
    assert stop.value.code == 2


@pytest.mark.slow
def test_a_kill_and_resume_give_the_files_of_one_run(tmp_path: Path) -> None:
    folder, weights = tmp_path / "in", tiny_artifact(tmp_path)
    folder.mkdir()
    for index in range(30):
        RGB.resize((90 + index, 80)).save(folder / f"{index:02d}.png")

    def command(out: str, *more: str) -> list[str]:
        arguments = [str(folder), "-o", str(tmp_path / out), "--weights", str(weights), "--device", "cpu", *more]
        return [sys.executable, "-m", "srgan_lightning.upscale", *arguments]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command("whole"), check=True, env=environment, capture_output=True, timeout=120)
    with subprocess.Popen(command("killed"), env=environment, stdout=subprocess.DEVNULL) as process:
        while len(list((tmp_path / "killed").glob("*_x4.png"))) < 3 and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    finished = list((tmp_path / "killed").glob("*_x4.png"))
    assert 3 <= len(finished) < 30
    for path in finished:
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()
    done = subprocess.run(command("killed", "--resume"), env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("whole", "killed")]
    assert files[0] == files[1]


@pytest.mark.slow
def test_two_processes_share_the_files(tmp_path: Path) -> None:
    folder, weights = tmp_path / "in", tiny_artifact(tmp_path)
    folder.mkdir()
    for index in range(5):
        RGB.save(folder / f"{index}.png")
    (folder / "5.png").write_text("no image")
    command = [sys.executable, "-m", "srgan_lightning.upscale", str(folder), "-o", str(tmp_path / "out"), "--jobs", "2"]
    command += ["--weights", str(weights), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "5 of 6" in done.stdout
    assert done.stderr.count("could not be upscaled") == 1  # the first process tells for all
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_upscale_image_keeps_kind_and_size() -> None:
    generator = tiny_generator()
    for image in (RGB, RGB.convert("L"), RGB.convert("RGBA")):
        big = upscale_image(image, generator, device="cpu")
        assert (big.mode, big.size) == (image.mode, (68, 84))
    assert from_pil(RGB.convert("L")).colour.shape == (21, 17, 1)
