"""The benchmark runs and reports; its figures are not checked."""

import json
from pathlib import Path

import pytest
import torch

from srgan_lightning.benchmark import PARTS, main
from srgan_lightning.inference.batchnorm_fusion import fold_batchnorm
from srgan_lightning.metrics.psnr_ssim import psnr_ssim
from srgan_lightning.tools.benchmark.evaluate import plain_scores
from srgan_lightning.tools.benchmark.run import precisions_of
from srgan_lightning.tools.benchmark.table import results_table
from srgan_lightning.tools.benchmark.timing import result
from srgan_lightning.utils import bf16
from tests.conftest import TINY_SRGAN
from tests.helpers.generators import tiny_generator

TINY = [*TINY_SRGAN, "loss.vgg.layer=relu1_2", "data.crop=64"]
TINY.remove("trainer.precision=32-true")


@pytest.mark.slow
def test_a_stopped_benchmark_keeps_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("srgan_lightning.tools.benchmark.run.evaluate", stopped)
    path = tmp_path / "b.json"
    words = ["--quick", "--rounds", "1", "--device", "cpu", "--only", "inference", "--only", "evaluate"]
    with pytest.raises(KeyboardInterrupt):
        main([*words, "--json", str(path), "trainer.precision=32-true"])
    assert {r["name"] for r in json.loads(path.read_text())["results"]} == {"inference"}


@pytest.mark.slow
def test_every_part_reports_its_ratio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "b.json"
    words = [*TINY, "trainer.precision=32-true", "--quick", "--rounds", "1", "--device", "cpu", "--json", str(path)]
    assert main(words) == 0
    report = json.loads(path.read_text())
    assert report["device"]["threads"] == 1
    results = report["results"]
    assert {r["name"] for r in results} == set(PARTS)
    for r in results:
        assert r["ratio"] == pytest.approx(r["ours"] / r["baseline"])
        assert r["ours_spread"][0] <= r["ours"] <= r["ours_spread"][1]
    assert {r["precision"] for r in results} == {"32-true"}
    units = {r["name"]: r["unit"] for r in results}
    assert units == {
        "train_step": "images/s",
        "degradation": "images/s",
        "input_pipeline": "images/s per worker",
        "inference": "megapixels/s",
        "small_images": "images/s",
        "evaluate": "megapixels/s",
        "fit": "images/s",
    }
    for step in (r for r in results if r["name"] == "train_step"):
        assert 0 < step["flops_per_image"] < step["baseline_flops_per_image"]  # the textbook runs the generator twice
        assert step["peak_memory"] > 0
    shares = {"fit": "waited_for_data", "evaluate": "share_of_scoring"}
    assert all(0 <= r[shares[r["name"]]] <= 1 for r in results if r["name"] in shares)
    degradations = [r for r in results if r["name"] == "degradation"]
    assert {r["case"].partition(",")[0] for r in degradations} == {"faces", "real"}
    assert all(r["share_of_step"] == pytest.approx(1 / r["ratio"]) for r in degradations)
    out = capsys.readouterr().out
    assert "waiting for data" in out
    assert "GFLOP an image" in out
    assert "of the step's time" in out


@pytest.mark.slow
def test_each_precision_that_the_device_is_fast_in_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bf16, "cpu_capabilities", lambda: {"avx512_bf16": True})
    path = tmp_path / "b.json"
    parts = ["--only", "train_step", "--only", "inference", "--only", "evaluate"]
    assert (
        main([*TINY, "data.crop=32", *parts, "--quick", "--rounds", "1", "--device", "cpu", "--json", str(path)]) == 0
    )
    measured = [(r["name"], r["precision"]) for r in json.loads(path.read_text())["results"]]
    for name in ("train_step", "inference"):
        assert {(name, "32-true"), (name, "bf16-mixed")} <= {*measured}
    assert {precision for name, precision in measured if name == "evaluate"} == {"32-true"}


@pytest.mark.slow
def test_the_cost_against_size_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    words = [*TINY, "data.crop=32", "--quick", "--rounds", "1", "--scaling", "--only", "inference", "--device", "cpu"]
    assert main([*words, "trainer.precision=32-true", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert {"data.batch_size", "data.crop"} < {row["option"] for row in report["scaling"]}
    assert {row["precision"] for row in [*report["scaling"], *report["results"]]} == {"32-true"}


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(
    ("given", "measured"),
    [
        ([], {False: ["32-true"], True: ["32-true", "bf16-mixed"]}),
        (["trainer.precision=auto"], {False: ["32-true"], True: ["bf16-mixed"]}),
        (["trainer.precision=32-true", "++trainer.precision=16-mixed"], {False: ["16-mixed"], True: ["16-mixed"]}),
    ],
)
def test_the_precision_that_is_asked_for_is_measured(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, given: list[str], measured: dict[bool, list[str]]
) -> None:
    for module in ("tools.benchmark.run", "training.precision"):
        monkeypatch.setattr(f"srgan_lightning.{module}.fast_bf16", lambda device: (bf16, "planted"))
    assert precisions_of(torch.device("cpu"), given) == measured[bf16]


def test_a_precision_that_cannot_be_measured_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu", "--quick", "trainer.precision=16-true"]) == 1
    advice = "trainer.precision=16-true: use one of auto, 32-true, bf16-mixed, 16-mixed."
    assert advice in " ".join(capsys.readouterr().err.split())


def test_a_table_has_a_column_for_each_precision() -> None:
    seconds = {"ours": [0.5, 0.25, 0.2], "baseline": [1.0, 1.0, 2.0]}
    rows = [
        result("inference", "LR 8x8", "32-true", "megapixels/s", 1, seconds),
        result("inference", "LR 8x8", "bf16-mixed", "megapixels/s", 1, {**seconds, "ours": [0.125]}),
        result("evaluate", "LR 8x8", "32-true", "megapixels/s", 2, seconds),
    ]
    table = results_table(rows)
    assert [column.header for column in table.columns] == ["what", "case", "unit", "baseline", "float32", "bf16"]
    cells = [[*column.cells] for column in table.columns]
    assert cells[3:] == [
        ["1 (0.5..1)", "2 (1..2)"],
        ["4 (2..5), 4.00x", "8 (4..10), 4.00x"],
        ["8 (8..8), 8.00x", ""],
    ]


@pytest.mark.slow
def test_one_part_alone(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    assert main(["--only", "inference", "--quick", "--rounds", "1", "--device", "cpu", "--json", str(path)]) == 0
    results = json.loads(path.read_text())["results"]
    assert {(r["name"], r["case"]) for r in results} == {("inference", "LR 32x32"), ("inference", "LR 61x45")}


def test_both_sides_of_the_benchmark_draw_the_same_image() -> None:
    generator = tiny_generator()
    lr = torch.rand(1, 3, 9, 14)
    folded = fold_batchnorm(generator).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(folded(lr), generator(lr), atol=1e-5, rtol=1e-5)


def test_the_plain_scores_are_those_of_evaluate() -> None:
    hr = torch.rand(1, 3, 30, 41)
    sr = (hr + 0.1 * torch.randn_like(hr)).clamp(0, 1)
    hr = hr.mul(255).round().div(255)
    plain, ours = torch.stack(plain_scores(sr, hr, 4)), psnr_ssim(sr, hr, 4)[0]
    torch.testing.assert_close(plain[::2], ours[::2], atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(plain[1::2], ours[1::2], atol=0.02, rtol=0)  # because torchmetrics pads the border


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "cuda:99"], "cuda:99"),
        (["--experiment", "nothing_of_the_kind", "--only", "train_step", "--quick"], "nothing_of_the_kind"),
        (["data.crop=33", "--only", "train_step", "--quick"], "cannot be divided by scale=4"),
    ],
)
def test_mistakes_are_reported(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert words in capsys.readouterr().err
