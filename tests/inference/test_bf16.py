"""`--precision auto`: its choice, and the bundled models' difference between bf16 and float32."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_lightning import upscale as command
from srgan_lightning.artifacts.bundled import DEFAULT_PRECISION, bundled_names
from srgan_lightning.artifacts.load import load_generator
from srgan_lightning.data.synthetic.datamodule import DrawnFaces
from srgan_lightning.demo import make_parser as demo_options
from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.imaging.picture import Picture
from srgan_lightning.inference.inputs import list_jobs
from srgan_lightning.inference.upscaling import TiledUpscaler, upscale_image
from srgan_lightning.utils import bf16
from srgan_lightning.utils.bf16 import choose_precision
from tests.helpers.generators import tiny_generator
from tests.helpers.own_generator import Espcn
from tests.helpers.pictures import smooth, upscale

CPU = torch.device("cpu")


def drawn() -> list[Picture]:
    """Return LR of two drawn faces."""
    faces = DrawnFaces(2, 192, seed=5).images.float() / 255
    pixels = resize_bicubic(faces, (48, 48)).clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
    return [Picture(one) for one in pixels]


def set5() -> list[Picture]:
    """Return LR of Set5 if it lies beside the checkout."""
    folder = Path(__file__).resolve().parents[3] / "shared/data/Set5"
    files = sorted(path for path in folder.rglob("*") if path.suffix == ".png" and "LR" not in str(path))
    images = [Image.open(path).convert("RGB") for path in files]
    return [Picture(np.asarray(im.resize((im.width // 4, im.height // 4), Image.Resampling.BICUBIC))) for im in images]


@pytest.mark.slow
@pytest.mark.parametrize("name", bundled_names())
def test_bundled_models_are_as_near_to_float32_as_auto_promises(name: str) -> None:
    """bf16 differs by at most 2 levels of 255, and by at most 1 in 99.9% of the values."""
    generator = load_generator(name)
    exact, half = (TiledUpscaler(generator, precision=precision) for precision in ("32", "bf16"))
    apart = np.concatenate(
        [
            np.abs(exact.upscale(lr).colour.astype(int) - half.upscale(lr).colour.astype(int)).ravel()
            for lr in [*drawn(), *set5()]
        ]
    )
    assert apart.max() > 0  # bf16 was really used
    assert apart.max() <= 2
    assert np.mean(apart <= 1) >= 0.999


def test_auto_is_bf16_where_the_device_is_fast_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bf16, "cpu_capabilities", lambda: {"amx_bf16": True})
    assert choose_precision("auto", CPU) == "bf16"
    monkeypatch.setattr(bf16, "cpu_capabilities", dict)
    assert [choose_precision(name, CPU) for name in ("auto", "32", "bf16", "16")] == ["32", "32", "bf16", "16"]


def test_commands_and_python_accept_auto_and_share_a_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bf16, "cpu_capabilities", lambda: {"avx512_bf16": True})
    smooth().save(tmp_path / "a.png")
    generator, results = tiny_generator(global_skip="bicubic"), {}
    for precision in ("32", "bf16", "auto"):
        image = upscale_image(smooth(), generator, device="cpu", precision=precision)
        results[precision] = np.asarray(image)
    assert np.array_equal(results["auto"], results["bf16"])
    assert not np.array_equal(results["auto"], results["32"])
    assert command.make_parser().parse_args(["a", "-o", "b"]).precision == DEFAULT_PRECISION
    assert demo_options().parse_args([]).precision == DEFAULT_PRECISION
    assert demo_options().parse_args(["--precision", "auto"]).precision == "auto"
    assert upscale(tmp_path / "a.png", "-o", tmp_path / "out", "--precision", "auto") == 0
    assert len(list_jobs([str(tmp_path / "out")], tmp_path / "again", "_x4", "same")) == 1


def test_the_fingerprint_includes_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny_generator()
    prints = {name: TiledUpscaler(generator, precision=name).fingerprint() for name in ("32", "bf16", "16")}
    assert len({*prints.values()}) == 3


def test_the_fingerprint_includes_the_tile_size_if_the_overlap_may_be_too_small() -> None:
    generator = tiny_generator()
    given = {tile: TiledUpscaler(generator, tile, overlap=2).fingerprint() for tile in (16, 32, 512)}
    assert len({*given.values()}) == 3
    enough = {tile: TiledUpscaler(generator, tile).fingerprint() for tile in (16, 32, 512)}
    assert len({*enough.values()}) == 1
    network = Espcn(4, 4).eval()
    unknown = {tile: TiledUpscaler(network, tile).fingerprint() for tile in (16, 32, 512)}  # type: ignore[arg-type]
    assert len({*unknown.values()}) == 3


def test_16_bit_pictures_are_computed_in_float32_whatever_is_asked() -> None:
    generator = tiny_generator(global_skip="bicubic")
    pixels = np.random.default_rng(0).integers(0, 65536, (24, 24, 3), dtype=np.uint16)
    exact, half = (TiledUpscaler(generator, precision=name).upscale(Picture(pixels)) for name in ("32", "bf16"))
    assert np.array_equal(exact.colour, half.colour)


def test_the_memory_that_a_tile_needs_follows_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count three layers of 8 channels of 100x100, with 2 bytes per value for 8-bit pictures in bf16, else 4."""
    needed = 3 * 8 * 100 * 100
    monkeypatch.setattr("srgan_lightning.inference.upscaling.memory_of", lambda device: 3 * needed)
    shallow, deep = (np.zeros((1, 100, 100, 3), kind) for kind in (np.uint8, np.uint16))
    half, exact = (TiledUpscaler(tiny_generator(), precision=name) for name in ("bf16", "32"))
    assert half._fits(shallow)
    assert not half._fits(deep)
    assert not exact._fits(shallow)
