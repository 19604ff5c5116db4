"""The benchmark runs and reports; its figures are nobody's assertion."""

import json
from pathlib import Path

import pytest
import torch

from srgan_lightning.benchmark import main
from srgan_lightning.inference.folding import fold_batchnorm
from tests.generators import tiny_generator


def test_quick_benchmark_reports_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--device", "cpu", "--json", str(tmp_path / "b.json")]) == 0
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["device"]["threads"] == 1
    assert {r["case"] for r in report["results"]} == {"LR 32x32", "LR 61x45"}
    for result in report["results"]:
        assert result["name"] == "inference"
        assert result["ratio"] == pytest.approx(result["ours"] / result["baseline"])
        assert result["ours_spread"][0] <= result["ours"] <= result["ours_spread"][1]
    assert "megapixels/s" in capsys.readouterr().out


def test_both_sides_of_the_benchmark_draw_the_same_image() -> None:
    generator = tiny_generator()
    lr = torch.rand(1, 3, 9, 14)
    folded = fold_batchnorm(generator).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(folded(lr), generator(lr), atol=1e-5, rtol=1e-5)


def test_a_device_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cuda:99"]) == 1
    assert "cuda:99" in capsys.readouterr().err
