"""Grids and colour shifts: absent in natural photos, and detected where planted."""

import csv
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from srgan_lightning.data.folder import ImageFolder
from srgan_lightning.imaging.ops import resize_bicubic, round_to_8_bits
from srgan_lightning.inference.tiling import super_resolve
from srgan_lightning.metrics.colour_shift import ColourShift
from srgan_lightning.metrics.grid_energy import GridEnergy
from srgan_lightning.metrics.perceptual import PerceptualMetrics
from srgan_lightning.metrics.pictures import Pictures
from srgan_lightning.metrics.tables import comparison_rows
from srgan_lightning.train import train
from srgan_lightning.training import module
from srgan_lightning.training.callbacks import picture_metrics
from srgan_lightning.training.callbacks.health_rules import picture_faults
from tests.conftest import TINY, TINY_FACES

Shared = Callable[[str], Path]


def grid(images: list[Tensor], scale: int = 4) -> float:
    metric = GridEnergy(scale)
    for image in images:
        metric.update(image)
    return metric.compute().item()


def natural(shared: Shared, folder: str, count: int) -> list[Tensor]:
    images = ImageFolder(shared(folder), "hr_dir")
    return [images.read(index)[None] / 255 for index in range(min(count, len(images)))]


def detail(side: int = 512) -> Tensor:
    """Return octaves of noise, each stronger than the next finer one: a photo's spectrum without any period."""
    random = torch.Generator().manual_seed(0)
    octaves = [torch.randn(1, 3, side // n, side // n, generator=random) * 0.01 * n for n in (1, 2, 4, 8, 16)]
    return round_to_8_bits(0.5 + sum(resize_bicubic(octave, (side, side)) for octave in octaves))


def dots(image: Tensor, period: int) -> Tensor:
    """Make one pixel of each cell brighter by 2 levels."""
    image = image.clone()
    image[..., 1::period, 1::period] += 2 / 255
    return round_to_8_bits(image)


def checkerboard(image: Tensor) -> Tensor:
    """Make single pixels brighter by 2 levels."""
    height, width = image.shape[-2:]
    return round_to_8_bits(image + (torch.arange(height)[:, None] + torch.arange(width)) % 2 * 2 / 255)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "count"),
    [("data/photos", 12), ("data/portraits/val", 12), ("data/celeba_sample", 32), ("data/Set5/HR", 5)],
)
def test_natural_photos_have_no_grid(shared: Shared, folder: str, count: int) -> None:
    photos = natural(shared, folder, count)
    whole = grid(photos)
    assert whole == pytest.approx(1, abs=0.1)
    for fault in (lambda image: dots(image, 4), lambda image: dots(image, 2), checkerboard):
        assert grid([fault(photo) for photo in photos]) > 1.15 * whole


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_a_planted_grid_is_found(scale: int) -> None:
    whole = grid([detail()], scale)
    assert 0.75 < whole < 1.15
    assert grid([dots(detail(), scale)], scale) > 1.5 * whole
    assert grid([checkerboard(detail())], scale) > 1.5 * whole
    assert grid([dots(detail(), 11)], scale) == pytest.approx(whole, rel=0.1)  # a period of 11 is not the grid's


def test_flat_images_have_no_grid() -> None:
    plain = torch.full((1, 3, 128, 128), 0.5)
    assert grid([plain]) == 1
    assert grid([dots(plain, 4)]) > 100
    assert torch.tensor(grid([torch.rand(1, 3, 63, 128)])).isnan()  # too small for a window


@pytest.mark.parametrize("metric", [GridEnergy(4), ColourShift()])
def test_batches_and_processes_change_nothing(metric: Any) -> None:
    sr = torch.stack([detail(128)[0].roll(n, -1) * (1 - 0.1 * n) for n in range(4)])
    inputs = (sr,) if isinstance(metric, GridEnergy) else (sr, resize_bicubic(sr + 0.01, (32, 32)))
    values = []
    for parts in ([[0, 1, 2, 3]], [[3], [1], [0], [2]], [[0, 2], [1, 3]]):
        metric.reset()
        for part in parts:
            metric.update(*(images[part] for images in inputs))
        values.append(metric.compute().item())
    assert values == pytest.approx([values[0]] * 3, rel=1e-5)
    states = []
    for share in (slice(0, 3), slice(3, 4)):  # two processes, whose states are added
        metric.reset()
        metric.update(*(images[share] for images in inputs))
        states.append({name: getattr(metric, name).clone() for name in metric._defaults})
    for name in metric._defaults:
        assert states[0][name].dtype == torch.long  # exact in any order
        setattr(metric, name, states[0][name] + states[1][name])
    metric._computed = None
    assert metric.compute().item() == pytest.approx(values[0], rel=1e-5)


@pytest.mark.slow
def test_a_photo_of_12_megapixels_takes_little_memory() -> None:
    image = torch.rand(1, 3, 3000, 4000)
    metric = GridEnergy(4)
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 200 * 2**20, before[1]))
    try:
        metric.update(image)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert metric.windows == 92 * 124


@pytest.mark.parametrize("scale", [2, 4])
def test_a_tint_is_found(scale: int) -> None:
    def shift(sr: Tensor) -> float:
        metric = ColourShift()
        metric.update(sr, lr)
        return metric.compute().item()

    sr = detail(128)
    lr = round_to_8_bits(resize_bicubic(sr, (128 // scale, 128 // scale)))
    tinted = sr + torch.tensor([0, 3, 0]).view(3, 1, 1) / 255
    assert shift(sr) < 0.1
    assert shift(tinted) == pytest.approx(3, abs=0.1)
    assert shift(sr - 3 / 255) == pytest.approx(3, abs=0.1)
    assert [fault.name for fault in picture_faults(shift(tinted), None)] == ["colour shift"]
    assert not list(picture_faults(shift(sr), None))


def test_a_grid_is_compared_with_hrs_and_with_natural_photos() -> None:
    for sr, hr in ((1.6, 1.5), (1.3, 0.87), (1.5, 1.2)):
        assert not list(picture_faults(0.0, (sr, hr)))
    assert [fault.name for fault in picture_faults(0.0, (1.7, 1.2))] == ["grid"]
    (fault,) = picture_faults(0.0, (1.4, 1.0))
    assert (
        "its energy at the frequencies of the LR grid is 1.40 times that at neighbouring frequencies (in HR 1.00 times)"
        in fault.words
    )


@pytest.mark.faults
def test_picture_metrics_are_logged_in_training(
    configure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, fault_counts: Callable[..., None]
) -> None:
    """A generator's tint and grid are logged at every validation, and reported once, at the second one."""
    fault_counts(faults_planted=1)
    monkeypatch.setattr(module, "super_resolve", lambda *arguments: dots(super_resolve(*arguments), 4) + 3 / 255)
    monkeypatch.setattr(picture_metrics, "MIN_WINDOWS", 1)
    short = ["trainer.max_steps=3", "trainer.val_check_interval=1", "model.generator.global_skip=bicubic"]
    cfg = configure("experiment=srresnet_celeba", "data=synthetic", *TINY, *TINY_FACES, *short)
    summary = train(cfg)
    rows = [row for row in csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open()) if row["val/psnr_y"]]
    for name in ("grid", "hr_grid", "colour_shift"):
        assert len([row for row in rows if float(row[f"val/{name}"]) > 0]) == 3
        assert any(summary[name] == pytest.approx(float(row[f"val/{name}"])) for row in rows)
    assert summary["grid"] > 1.5 * summary["hr_grid"]
    log = (Path(cfg.run_dir) / "health.log").read_text()
    assert log.count("update 2: SR has a grid") == log.count("SR has a grid") == 1
    assert log.count("update 2: SR has other colours") == log.count("SR has other colours than LR") == 1


def test_evaluate_computes_them_without_weights() -> None:
    names = ["swd", "grid", "colour_shift"]
    metrics = PerceptualMetrics(names, None, torch.device("cpu"), {}, scale=4)
    hr = detail(128)
    lr = round_to_8_bits(resize_bicubic(hr, (32, 32)))
    metrics.update(Pictures("photo", lr, dots(hr, 4) + 3 / 255, hr))
    scores = metrics.compute(1)
    assert scores["grid"] > 1.5 * scores["hr_grid"] == pytest.approx(1.5 * grid([hr]))
    assert scores["colour_shift"] == pytest.approx(3 + 2 / 16, abs=0.1)
    assert 0 < scores["swd"] < 0.5
    always = dict.fromkeys(["psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"], 1.0)
    result = {"set": "a", "n": 1, "weights": "b", **always, **{f"bicubic_{key}": 1.0 for key in always}, **scores}
    head, rows = comparison_rows([result])
    assert head[-4:] == ["SWD", "grid", "HR grid", "colour shift"]
    assert rows[1][-2:] == [f"{scores['hr_grid']:.2f}", f"{scores['colour_shift']:.2f}"]
    metrics.update(Pictures("small", lr[..., :8, :8], hr[..., :32, :32], hr[..., :32, :32]))
    assert metrics.compute(1).keys() == {"swd", "colour_shift"}  # too small for a window of `grid`
