"""One request of the web page, without a browser: sizes, precision, foreign weights, and limits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_lightning import load_generator, upscale_image
from srgan_lightning.artifacts.bundled import PURPOSES, bundled_names
from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.tools.web.request import UpscaleRequest, UpscaleResult, run_request
from srgan_lightning.utils.errors import UserError
from tests.helpers.foreign import compact, save_pth
from tests.helpers.generators import tiny_artifact
from tests.helpers.pictures import smooth
from tests.security.test_hostile import Touch

CPU = torch.device("cpu")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    smooth(size=(48, 32)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def result(photo: Path, weights: Path, most: int = 2_000, **options: Any) -> UpscaleResult:
    *_, last = run_request(UpscaleRequest(photo, weights, **options), CPU, most, photo.parent / "out")
    assert isinstance(last, UpscaleResult)
    return last


def refused(photo: Path, weights: Path, **options: Any) -> str:
    with pytest.raises(UserError) as raised:
        result(photo, weights, **options)
    said = str(raised.value)
    assert str(photo.parent) not in said  # where the server keeps files
    assert "\n" not in said
    return said


def test_outscale_is_that_of_the_command_beside_bicubic_of_that_size(tmp_path: Path, photo: Path) -> None:
    weights = tiny_artifact(tmp_path, global_skip="bicubic")
    made = result(photo, weights, outscale=2.5)
    assert made.sr.name == "photo_x2.5.png"
    assert "48x32 to 120x80 pixels" in made.caption
    sr, bicubic = (Image.open(path) for path in (made.sr, made.bicubic))
    expected = upscale_image(smooth(size=(48, 32)), weights, device="cpu", outscale=2.5)
    assert np.array_equal(np.asarray(sr), np.asarray(expected))
    lr = torch.from_numpy(np.array(smooth(size=(48, 32)))).permute(2, 0, 1)[None] / 255
    baseline = resize_bicubic(lr, (80, 120)).clamp(0, 1).mul(255).round()[0].permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(bicubic).astype(int) - baseline).max() <= 1


def test_precision_is_the_visitors(tmp_path: Path, photo: Path) -> None:
    weights = tiny_artifact(tmp_path, global_skip="bicubic")
    pictures = {name: np.asarray(Image.open(result(photo, weights, precision=name).sr)) for name in ("32", "bf16")}
    difference = np.abs(pictures["32"].astype(int) - pictures["bf16"])
    assert 0 < difference.max() < 32
    assert "precision=None" in refused(photo, weights, precision=None)
    assert "precision=float64" in refused(photo, weights, precision="float64")


@pytest.mark.parametrize("outscale", [0, -1.0, float("nan"), float("inf"), 65, 1e308])
def test_impossible_factors_are_refused(tmp_path: Path, photo: Path, outscale: float) -> None:
    assert "give a factor above 0 and up to 64" in refused(photo, tiny_artifact(tmp_path), outscale=outscale)


def test_results_are_no_larger_than_eight_times_the_largest_photo(tmp_path: Path, photo: Path) -> None:
    weights = tiny_artifact(tmp_path, blocks=0)
    assert "48x32 to 432x288 pixels" in result(photo, weights, outscale=9).caption  # photos may have 2,000 pixels
    said = refused(photo, weights, outscale=10)
    assert "480x320 pixels, more than the 128,000 allowed here" in said
    assert "python -m srgan_lightning.upscale" in said
    assert "48x32 to 1x1 pixels" in result(photo, weights, outscale=1e-9).caption


def test_a_score_needs_the_networks_own_size(tmp_path: Path, photo: Path) -> None:
    smooth(size=(192, 128)).save(tmp_path / "truth.png")
    words = {"truth": tmp_path / "truth.png", "outscale": 4.0}
    assert "set outscale to 0" in refused(photo, tiny_artifact(tmp_path), **words)


def test_published_weights_of_any_scale(tmp_path: Path, photo: Path) -> None:
    pytest.importorskip("spandrel")
    weights = save_pth(tmp_path / "3x_mine.pth", compact(upscale=3), "params")
    made = result(photo, weights)
    assert "to 144x96 pixels with 3x_mine" in made.caption
    expected = upscale_image(smooth(size=(48, 32)), load_generator(weights), device="cpu")
    assert np.array_equal(np.asarray(Image.open(made.sr)), np.asarray(expected))
    assert Image.open(made.bicubic).size == (144, 96)
    large = save_pth(tmp_path / "x16.pth", compact(upscale=16))
    assert refused(photo, large) == "x16.pth upscales by 16, and at most 8 is allowed here: use other weights."


def test_hostile_weights_are_refused(tmp_path: Path, photo: Path, little_memory: None) -> None:
    pytest.importorskip("spandrel")
    state = compact().state_dict()
    files: dict[str, tuple[Any, str]] = {
        "code.pth": ({**state, "more": Touch(tmp_path / "touched")}, "is never run"),
        "huge.pth": ({**state, "body.500.weight": torch.zeros(1)}, "cannot be built"),
        "claims.pth": ({**state, "body.0.bias": torch.zeros(1).expand(10**10)}, "10,000,000,000 numbers"),
        "nan.pth": ({**state, "body.0.bias": state["body.0.bias"] * torch.nan}, "are not all finite"),
        "list.pth": ([1, 2], "list"),
        "new\u202ename\u0007.pth": ({"a": 3}, "holds no network"),
    }
    for name, (content, said) in files.items():
        torch.save(content, tmp_path / name)
        assert said in refused(photo, tmp_path / name), name
    (tmp_path / "text.pth").write_text("no pickle")
    assert "text.pth cannot be read as tensors" in refused(photo, tmp_path / "text.pth")
    assert not (tmp_path / "touched").exists()


def test_every_bundled_model_has_a_description() -> None:
    assert PURPOSES.keys() == {*bundled_names()}
