"""The benchmark runs and reports; its figures are nobody's assertion."""

import json
from pathlib import Path

import pytest
import torch

from srgan_lightning.benchmark import PARTS, main
from srgan_lightning.inference.batchnorm_fusion import fold_batchnorm
from tests.conftest import TINY_SRGAN
from tests.helpers.generators import tiny_generator

TINY = [*TINY_SRGAN, "loss.vgg.layer=relu1_2", "data.crop=32"]


def test_every_part_reports_its_ratio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "b.json"
    assert main([*TINY, "--quick", "--rounds", "1", "--scaling", "--device", "cpu", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert report["device"]["threads"] == 1
    results = report["results"]
    assert {r["name"] for r in results} == set(PARTS)
    for r in results:
        assert r["ratio"] == pytest.approx(r["ours"] / r["baseline"])
        assert r["ours_spread"][0] <= r["ours"] <= r["ours_spread"][1]
    units = {r["name"]: r["unit"] for r in results}
    assert units == {
        "train_step": "images/s",
        "input_pipeline": "images/s per worker",
        "inference": "megapixels/s",
        "small_images": "images/s",
        "fit": "images/s",
    }
    (step,) = (r for r in results if r["name"] == "train_step")
    assert 0 < step["flops_per_image"] < step["baseline_flops_per_image"]  # the textbook runs the generator twice
    assert step["peak_memory"] > 0
    (fit,) = (r for r in results if r["name"] == "fit")
    assert 0 <= fit["waited_for_data"] <= 1
    assert {"data.batch_size", "data.crop"} < {row["option"] for row in report["scaling"]}
    out = capsys.readouterr().out
    assert "waiting for data" in out
    assert "GFLOP an image" in out


def test_one_part_alone(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    assert main(["--only", "inference", "--quick", "--device", "cpu", "--json", str(path)]) == 0
    results = json.loads(path.read_text())["results"]
    assert {(r["name"], r["case"]) for r in results} == {("inference", "LR 32x32"), ("inference", "LR 61x45")}


def test_both_sides_of_the_benchmark_draw_the_same_image() -> None:
    generator = tiny_generator()
    lr = torch.rand(1, 3, 9, 14)
    folded = fold_batchnorm(generator).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(folded(lr), generator(lr), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "cuda:99"], "cuda:99"),
        (["--experiment", "nothing_of_the_kind", "--only", "train_step", "--quick"], "nothing_of_the_kind"),
        (["data.crop=33", "--only", "train_step", "--quick"], "cannot be divided by scale=4"),
    ],
)
def test_mistakes_are_told(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert words in capsys.readouterr().err
