"""Further options of `upscale`: blend, self-ensemble, any size, colours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from srgan_lightning import upscale_image
from srgan_lightning.artifacts.artifact import save_artifact
from srgan_lightning.artifacts.load import load_generator
from srgan_lightning.imaging.files import FORMATS
from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.imaging.picture import Picture, from_pil
from srgan_lightning.inference.blending import blend
from srgan_lightning.inference.colour_matching import match_colours
from srgan_lightning.inference.finishing import Finish
from srgan_lightning.inference.memory_check import memory_needed
from srgan_lightning.inference.self_ensemble import self_ensemble
from srgan_lightning.inference.tiling import super_resolve
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.utils.errors import UserError
from tests.helpers.generators import tiny_artifact, tiny_generator
from tests.helpers.pictures import GENERATOR, smooth, upscale


@pytest.fixture
def weights(tmp_path: Path) -> str:
    return str(tiny_artifact(tmp_path, global_skip="bicubic"))


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one paragraph with which the program refuses its input."""
    assert upscale(*arguments) == 1
    text = capsys.readouterr().err.strip()
    assert "\n" not in text
    return text


def by_formula(generator: Callable[[torch.Tensor], torch.Tensor], image: Image.Image) -> np.ndarray[Any, Any]:
    """Return the 8-bit result of a function from LR to SR."""
    lr = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return generator(lr)[0].clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()


def test_blend_is_that_of_python(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(1)
    save_artifact(tmp_path / "other.safetensors", tiny_generator(global_skip="bicubic"), {})
    save_artifact(tmp_path / "large.safetensors", tiny_generator(3), {})
    smooth().save(tmp_path / "a.png")
    other, start = str(tmp_path / "other.safetensors"), (tmp_path / "a.png", "-o", tmp_path / "out.png")
    assert upscale(*start, "--blend", weights, other, "0.7") == 0
    mixed = blend(load_generator(weights), load_generator(other), 0.7)
    result = np.array(Image.open(tmp_path / "out.png"))
    np.testing.assert_array_equal(result, np.array(upscale_image(smooth(), mixed, device="cpu")))
    assert np.abs(result - by_formula(load_generator(weights), smooth())).max() > 2
    capsys.readouterr()
    start = (tmp_path / "a.png", "-o", tmp_path / "new.png")
    assert "1.5: give the share of the second" in refusal(capsys, *start, "--blend", weights, other, "1.5")
    assert "half is not a number" in refusal(capsys, *start, "--blend", weights, other, "half")
    told = refusal(capsys, *start, "--blend", weights, tmp_path / "large.safetensors", "0.5")
    assert "their architectures differ" in told
    assert not (tmp_path / "new.png").exists()


def test_self_ensemble_of_tiles_is_that_of_the_whole_image() -> None:
    image = smooth(size=(45, 37))
    result = TiledUpscaler(GENERATOR, 16, ensemble=True).upscale(from_pil(image))
    expected = by_formula(self_ensemble(lambda lr: super_resolve(GENERATOR, lr)), image)
    assert np.abs(result.colour - expected).max() <= 1
    assert np.abs(by_formula(GENERATOR, image) - expected).max() > 1


@pytest.mark.parametrize(
    ("options", "size", "name"),
    [
        (["--outscale", "2.5"], (58, 43), "a_x2.5.png"),
        (["--outscale", "6"], (138, 102), "a_x6.png"),
        (["--outscale", "0.5"], (12, 9), "a_x0.5.png"),
        (["--size", "69x1000"], (69, 51), "a_69x1000.png"),
        (["--size", "1000x34"], (46, 34), "a_1000x34.png"),
    ],
)
def test_any_size(tmp_path: Path, weights: str, options: list[str], size: tuple[int, int], name: str) -> None:
    """The network's result is resized with antialiasing, in proportion."""
    smooth("RGBA").save(tmp_path / "a.png")
    assert upscale(tmp_path / "a.png", "-o", tmp_path / "out", "--weights", weights, *options) == 0
    result = Image.open(tmp_path / "out" / name)
    assert (result.size, result.mode) == (size, "RGBA")
    whole = upscale_image(smooth("RGBA"), weights, device="cpu")
    large = torch.from_numpy(np.array(whole)).permute(2, 0, 1)[None].double()
    expected = resize_bicubic(large, size[::-1])[0].permute(1, 2, 0).clamp(0, 255)
    np.testing.assert_allclose(np.array(result), expected, atol=0.51)


def test_a_resized_result_counts_in_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    png = FORMATS[".png"]
    assert memory_needed(100, 3, 1, 4, png, result=6400) == 100 * 3 + 3 * (1600 + 6400)
    assert memory_needed(100, 3, 1, 4, png, result=25) == 100 * 3 + 3 * (1600 + 25)
    assert memory_needed(100, 3, 1, 4, png, matching=4800) == 100 * 3 + 3 * 1600 + 4800
    monkeypatch.setattr("srgan_lightning.inference.upscaling.available_memory", lambda: 23 * 17 * 3 * (16 + 64) - 1)
    with pytest.raises(UserError, match="its result would take"):
        TiledUpscaler(GENERATOR, finish=Finish(outscale=8)).upscale(from_pil(smooth()))


def a_trous(difference: torch.Tensor) -> torch.Tensor:
    """Filter (1, C, H, W) with one separable kernel of 15 taps, away from the border."""
    kernel = torch.ones(1, dtype=torch.float64)
    for dilation in (1, 2, 4):
        taps = torch.zeros(2 * dilation + 1, dtype=torch.float64)
        taps[[0, dilation, -1]] = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
        kernel = F.conv1d(kernel.view(1, 1, -1), taps.view(1, 1, -1), padding=len(taps) - 1).flatten()
    assert len(kernel) == 15
    channels = difference.shape[1]
    line = kernel.expand(channels, 1, 1, 15)
    return F.conv2d(F.conv2d(difference, line, groups=channels), line.mT, groups=channels)


def test_match_colours_restores_only_the_low_frequencies() -> None:
    rng = np.random.default_rng(0)
    lr = rng.integers(60, 180, (40, 44, 3)).astype(np.uint16) * 257
    sr = np.repeat(np.repeat(lr, 4, 0), 4, 1)
    sr = sr + rng.integers(-5000, 5000, sr.shape).astype(np.int64) + np.array([4000, 0, -6000])  # detail, and a tint
    sr = sr.clip(0, 65535).astype(np.uint16)
    before, result = sr.astype(np.float64), sr.copy()
    match_colours(result, lr)

    def tensor(pixels: Any) -> torch.Tensor:
        return torch.from_numpy(np.asarray(pixels, np.float64)).permute(2, 0, 1)[None]

    low = a_trous(tensor(lr) - resize_bicubic(tensor(before), (40, 44)))
    expected = tensor(before) + resize_bicubic(F.pad(low, [7] * 4, mode="replicate"), (160, 176))
    inner = (slice(44, -44), slice(44, -44))
    got = result[inner].astype(np.float64)
    np.testing.assert_allclose(got, expected[0].permute(1, 2, 0).numpy()[inner], atol=2)
    change = (got - before[inner]).mean(axis=(0, 1))
    np.testing.assert_allclose(change, [-4000, 0, 6000], atol=300)


def test_match_colours_is_an_option_of_the_command(tmp_path: Path) -> None:
    tinted = tiny_generator(global_skip="bicubic")
    tinted.tail.weight.data *= 0.1
    tinted.tail.bias.data += torch.tensor([0.1, 0.0, -0.1])
    save_artifact(tmp_path / "tinted.safetensors", tinted, {})
    smooth(size=(48, 40)).save(tmp_path / "a.png")
    mean = np.array(smooth(size=(48, 40))).mean((0, 1))
    start = (tmp_path / "a.png", "--weights", tmp_path / "tinted.safetensors", "-o")
    assert upscale(*start, tmp_path / "plain.png") == upscale(*start, tmp_path / "same.png", "--match-colours") == 0
    plain, same = (np.array(Image.open(tmp_path / f"{name}.png")).mean((0, 1)) for name in ("plain", "same"))
    assert np.abs(plain - mean).max() > 15
    assert np.abs(same - mean).max() < 1.5


def test_resume_compares_the_options(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    smooth().save(tmp_path / "a.png")
    start = (tmp_path / "a.png", "-o", tmp_path / "out.png", "--weights", weights)
    assert upscale(*start, "--outscale", "4") == 0
    assert upscale(*start, "--outscale", "4", "--resume") == 0
    capsys.readouterr()
    for options in (["--outscale", "2"], ["--match-colours"], ["--self-ensemble"]):
        assert "other weights or options" in refusal(capsys, *start, "--resume", *options)


def test_refusals(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    smooth().save(tmp_path / "a.png")
    start = (tmp_path / "a.png", "-o", tmp_path / "out", "--weights", weights)
    for factor in ("0", "-1", "nan", "65"):
        assert "give a factor above 0 and up to 64" in refusal(capsys, *start, f"--outscale={factor}")
    assert "width and a height of 1" in refusal(capsys, *start, "--size", "0x9")
    assert not (tmp_path / "out").exists()
    for usage in (["--size", "9"], ["--size", "axb"], ["--outscale", "two"], ["--outscale", "2", "--size", "9x9"]):
        with pytest.raises(SystemExit) as stop:
            upscale(*start, *usage)
        assert stop.value.code == 2
    with pytest.raises(SystemExit):
        upscale(*start, "--blend", "a", "b", "0.5")  # beside --weights


def test_finishing_keeps_alpha_profile_and_notes() -> None:
    picture = from_pil(smooth("LA"))
    picture.icc, picture.notes = b"profile", ["a note"]
    result = TiledUpscaler(GENERATOR, finish=Finish(size=(30, 30), match_colours=True)).upscale(picture)
    assert isinstance(result, Picture)
    assert (result.shape, result.icc, result.notes) == ((22, 30, 2), b"profile", ["a note"])
