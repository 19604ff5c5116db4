"""Comparison of several generators: their costs, and a picture of all side by side."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from srgan_lightning.artifacts.artifact import save_artifact
from srgan_lightning.inference.comparison_grid import weights_grid, weights_grid_files
from srgan_lightning.inference.cost import count_weights, measure_costs, peak_bytes
from srgan_lightning.metrics.perceptual import PerceptualMetrics
from srgan_lightning.metrics.pictures import Pictures
from srgan_lightning.networks import Generator
from tests.inference.test_evaluate import evaluate  # noqa: F401  # a fixture

CPU = torch.device("cpu")


def test_the_peak_counts_tensors_that_exist_at_the_same_time() -> None:
    image = torch.rand(1000, 250)  # a megabyte

    def work() -> Tensor:
        a = image + 1  # 1 MB
        b = torch.cat([a, a])  # 3 MB
        del a  # 2 MB
        b.mul_(2)
        view = b[:10].clone()  # 0.01 MB
        del b
        return view + torch.zeros(1)

    for context in (torch.inference_mode(), torch.enable_grad()):
        with context:
            assert peak_bytes(work, CPU) == 3 * 1000 * 250 * 4
            assert peak_bytes(lambda: image.view(-1), CPU) == 0


def test_costs_are_of_a_megapixel_of_sr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a clock that each upscaler advances, with outliers that a median ignores."""
    now, calls = [0.0], {"a": 0, "b": 0}
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def upscaler(name: str, seconds: float):  # type: ignore[no-untyped-def]
        def upscale(lr: Tensor) -> Tensor:
            assert lr.shape == (1, 3, 64, 64)
            calls[name] += 1
            now[0] += seconds * (100 if calls[name] == 4 else 1)
            return torch.zeros(1, 3, 256, 256)

        return upscale

    costs = measure_costs({"a": upscaler("a", 1.0), "b": upscaler("b", 2.0)}, CPU, 4)
    megapixels = 256 * 256 / 1e6
    assert costs["a"]["seconds_per_megapixel"] == pytest.approx(1 / megapixels)
    assert costs["b"]["seconds_per_megapixel"] == pytest.approx(2 / megapixels)
    assert costs["a"]["megabytes_per_megapixel"] == pytest.approx(12.0)  # SR alone: 3 channels of 4 bytes


def test_weights_are_counted_without_statistics() -> None:
    generator = Generator(8, 1)
    by_hand = (3 * 81 * 8 + 8 + 1) + (2 * (8 * 8 * 9 + 2 * 8) + 1) + (8 * 8 * 9 + 2 * 8)
    by_hand += 2 * (8 * 32 * 9 + 32 + 1) + (8 * 81 * 3 + 3)
    assert count_weights(generator) == by_hand


def test_the_table_has_the_costs(evaluate, photos, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    save_artifact(tmp_path / "a.safetensors", Generator(8, 1), {})
    arguments = [f"hr_dir={photos('set', 1)}", "weights=[bicubic,a.safetensors]", "json=o.json", "markdown=o.md"]
    code, out, err = evaluate(*arguments)
    assert code == 0, err
    head, _, bicubic, ours = (tmp_path / "o.md").read_text().splitlines()[:4]
    assert head.endswith("| parameters | s/MP | MB/MP |")
    assert bicubic.split(" | ")[-3] == "0"
    assert ours.split(" | ")[-3] == f"{count_weights(Generator(8, 1)):,}"
    assert "s/MP" in out
    first, second = json.loads((tmp_path / "o.json").read_text())["results"]
    assert 0 < first["megabytes_per_megapixel"] < second["megabytes_per_megapixel"]
    assert second["seconds_per_megapixel"] > 0
    code, out, err = evaluate(*arguments, "cost=false")
    assert code == 0, err
    assert "s/MP" not in out


def test_all_generators_stand_side_by_side() -> None:
    """Each image is shown whole, and enlarged where HR has most detail."""
    hr = torch.full((1, 3, 128, 192), 0.5)
    hr[..., 40:104, 120:184] = torch.rand(1, 3, 64, 64)
    lr = torch.full((1, 3, 32, 48), 0.25)
    versions = [[Pictures("x", lr, torch.full_like(hr, shade), hr)] for shade in (0.0, 1.0)]
    grid = weights_grid(["dark", "light"], versions)
    assert grid.shape == (3, 20 + 2 * 260 + 4, 4 * 260 + 4)
    cells = [grid[:, 280 + 4 : 280 + 260, 4 + 260 * column : 260 + 260 * column] for column in range(4)]
    for cell, shade in zip(cells, (0.25, 0.0, 1.0), strict=False):
        torch.testing.assert_close(cell, torch.full_like(cell, shade))
    zoomed = cells[3]
    torch.testing.assert_close(zoomed[:, ::4, ::4], zoomed[:, 3::4, 3::4])  # each pixel four times
    inside = hr[0, :, 40:104, 120:184]
    assert (zoomed[:, ::4, ::4] - inside).abs().max() == 0
    assert grid[:, 4 + 20 : 260 + 20, 4:260].max() == 1  # the white around a whole image that is not square


def test_files_of_the_common_grids() -> None:
    assert [str(path) for path in weights_grid_files("o/g.png", ["x/HR"])] == ["o/g_all.png"]
    names = [path.name for path in weights_grid_files("g.png", ["x/HR", "y/HR"])]
    assert names == ["g_x_HR_all.png", "g_y_HR_all.png"]
    assert len(set(weights_grid_files("g.png", ["x", "x"]))) == 2


def test_the_file_is_written(evaluate, photos, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    save_artifact(tmp_path / "a.safetensors", Generator(8, 1), {})
    code, out, err = evaluate(
        f"hr_dir={photos('set', 3)}", "weights=[bicubic,a.safetensors]", "grid=g.png", "grid_images=2", "cost=false"
    )
    assert code == 0, err
    assert "g_all.png" in out
    with Image.open(tmp_path / "g_all.png") as grid:
        assert grid.size == (4 * 260 + 4, 20 + 4 * 260 + 4)


@pytest.mark.slow
def test_dists_builds_its_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With random VGG16 weights, equal images have 0, others have torchmetrics' value, and the mean is reported."""
    from torchmetrics.functional.image import dists
    from torchvision.models import vgg16

    plain, built = vgg16(weights=None), []
    monkeypatch.setattr(dists, "vgg16", lambda weights: built.append(weights) or plain)
    metrics = PerceptualMetrics(["dists"], None, CPU, {})
    images = torch.rand(3, 1, 3, 40, 48)
    expected = [float(dists.DISTSNetwork()(sr, images[0]).detach()) for sr in images]
    built.clear()
    for sr in images:
        metrics.update(Pictures("x", sr, sr, images[0]))
    assert metrics.compute(3)["dists"] == pytest.approx(sum(expected) / 3, rel=1e-4)
    assert abs(expected[0]) < 1e-5 < expected[1]
    assert not built
