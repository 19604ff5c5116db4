"""On accelerators, small images of equal size are upscaled in batches, with the same results as one at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_lightning import upscale_image
from srgan_lightning.imaging.picture import from_pil
from srgan_lightning.inference.groups import GPU_PIXELS, group_pixels, grouped
from srgan_lightning.inference.inputs import Job
from srgan_lightning.inference.predict import ImageWriter
from srgan_lightning.inference.upscaling import TiledUpscaler
from tests.helpers.generators import tiny_artifact
from tests.helpers.pictures import GENERATOR, read_png16, smooth, upscale, write_png16


def faces(count: int, side: int = 16) -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return [Image.fromarray(face) for face in noise]


def job(path: Path) -> Job:
    return Job(path, path.with_suffix(".out.png"))


def test_groups_are_of_one_size_and_bounded(tmp_path: Path) -> None:
    sizes = [(16, 16)] * 5 + [(16, 8), (8, 16), (16, 8), (40, 40), (40, 40)]
    jobs = []
    for number, size in enumerate(sizes):
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
        jobs.append(job(tmp_path / f"{number}.png"))
    (tmp_path / "x.png").write_text("no image")
    jobs += [job(tmp_path / "x.png"), job(tmp_path / "gone.png")]
    groups = [[jobs.index(each) for each in group] for group in grouped(jobs, 3 * 256)]
    assert sorted(groups) == [[0, 1, 2], [3, 4], [5, 7], [6], [8], [9], [10], [11]]
    assert grouped(jobs, 0) == [[each] for each in jobs]


def test_only_accelerators_get_batches() -> None:
    assert [group_pixels(torch.device(name)) for name in ("cpu", "cuda", "cuda:1", "mps")] == [0, *[GPU_PIXELS] * 3]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use batches on the CPU too, as on an accelerator."""
    monkeypatch.setattr("srgan_lightning.inference.predict.group_pixels", lambda device: GPU_PIXELS)


@pytest.mark.parametrize("together", [True, False])
def test_a_folder_of_all_kinds_is_that_of_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, together: bool
) -> None:
    if together:
        request.getfixturevalue("batches")
    passes: list[int] = []
    original = TiledUpscaler._forward

    def counted(self: TiledUpscaler, lr: torch.Tensor) -> torch.Tensor:
        passes.append(len(lr))
        return original(self, lr)

    monkeypatch.setattr(TiledUpscaler, "_forward", counted)
    (tmp_path / "in").mkdir()
    images = {f"{number:02d}.png": face for number, face in enumerate(faces(10))}
    images |= {"grey.png": faces(1)[0].convert("L"), "alpha.png": faces(1)[0].convert("RGBA")}
    images |= {"wide.png": smooth(), "tall.png": smooth(size=(17, 23))}
    for name, image in images.items():
        image.save(tmp_path / "in" / name)
    deep = np.random.default_rng(0).integers(0, 65536, (16, 16, 3), dtype=np.uint16)
    write_png16(tmp_path / "in/deep.png", deep)
    (tmp_path / "in/cut.png").write_bytes((tmp_path / "in/00.png").read_bytes()[:300])
    weights = str(tiny_artifact(tmp_path, global_skip="bicubic"))
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights) == 1  # because of cut.png
    # deep, grey, wide and tall are upscaled alone. All others are one group, with the colours of alpha.png.
    assert sorted(passes) == ([1, 1, 1, 1, 11] if together else [1] * 15)
    results = {path.name: path for path in (tmp_path / "out").glob("*_x4.png")}
    assert len(results) == len(images) + 1
    for name, image in images.items():
        with Image.open(results[name.replace(".png", "_x4.png")]) as result:
            alone = upscale_image(image, weights, device="cpu")
            assert (result.mode, result.size) == (alone.mode, alone.size)
            assert np.abs(np.array(result).astype(int) - np.array(alone)).max() <= int(together)  # equal on a CPU
    assert read_png16(results["deep_x4.png"]).shape == (64, 64, 3)


@pytest.mark.parametrize("options", [{}, {"alpha": "generator", "ensemble": True}])
def test_images_in_a_batch_are_upscaled_as_alone(options: dict[str, Any]) -> None:
    pictures = [from_pil(face.convert("RGBA")) for face in faces(5)]
    upscaler = TiledUpscaler(GENERATOR, **options)
    for together, picture in zip(upscaler.upscale_all(pictures), pictures, strict=True):
        alone = upscaler.upscale(picture)
        assert np.abs(together.stacked().astype(int) - alone.stacked()).max() <= 1


def test_out_of_memory_halves_the_batch_and_not_the_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    original, passes = TiledUpscaler._forward, []

    def small(self: TiledUpscaler, lr: torch.Tensor) -> torch.Tensor:
        passes.append(len(lr))
        if len(lr) > 2:
            raise torch.OutOfMemoryError
        return original(self, lr)

    pictures = [from_pil(face) for face in faces(5)]
    upscaler = TiledUpscaler(GENERATOR)
    expected = [upscaler.upscale(picture).colour for picture in pictures]
    monkeypatch.setattr(TiledUpscaler, "_forward", small)
    results = [result.colour for result in upscaler.upscale_all(pictures)]
    assert passes == [5, 3, 2, 1, 2]
    assert upscaler.tile == 512
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(results, expected, strict=True)) <= 1


def test_an_image_that_fails_does_not_affect_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], batches: None
) -> None:
    """Test a generator that gives NaN, and a file that cannot be written."""
    original = TiledUpscaler._forward

    def sick(self: TiledUpscaler, lr: torch.Tensor) -> torch.Tensor:
        return original(self, lr).masked_fill((lr.flatten(1).amin(1) > 0.9).view(-1, 1, 1, 1), float("nan"))

    monkeypatch.setattr(TiledUpscaler, "_forward", sick)
    (tmp_path / "in").mkdir()
    for number, face in enumerate([*faces(4), Image.new("RGB", (16, 16), "white")]):
        face.save(tmp_path / f"in/{number}.png")
    (tmp_path / "out/2_x4.png").mkdir(parents=True)
    weights = str(tiny_artifact(tmp_path, global_skip="bicubic"))
    assert upscale(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--overwrite") == 1
    told = capsys.readouterr()
    assert "3 of 5 images written" in told.out
    assert "4.png: the generator gives NaN" in told.err
    assert "2_x4.png cannot be written" in told.err
    assert sorted(p.name for p in (tmp_path / "out").glob("*_x4.png") if p.is_file()) == [
        "0_x4.png",
        "1_x4.png",
        "3_x4.png",
    ]


def test_large_results_are_written_before_the_next_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory check counts one large image at a time."""
    pending: list[int] = []
    finish = ImageWriter._finish

    def watched(self: ImageWriter) -> None:
        pending.append(len(self.pending))
        finish(self)

    monkeypatch.setattr(ImageWriter, "_finish", watched)
    for name in "abc":
        smooth().save(tmp_path / f"{name}.png")
    start = [*(tmp_path / f"{name}.png" for name in "abc"), "--weights", tiny_artifact(tmp_path)]
    assert upscale(*start, "-o", tmp_path / "threads") == 0
    assert pending == [0, 1, 1, 1]
    pending.clear()
    monkeypatch.setattr("srgan_lightning.inference.predict.SMALL_BYTES", 10)
    assert upscale(*start, "-o", tmp_path / "one") == 0
    assert pending == [0, 1, 0, 1, 0, 1, 0]
