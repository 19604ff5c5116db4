"""`report`: curves of one run, and a table and picture of several."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from srgan_lightning.cli.config import config_dir
from srgan_lightning.report import main
from srgan_lightning.runs.reading import Run, find_runs
from srgan_lightning.tools.report.curves import draw_curves
from srgan_lightning.tools.report.pareto import compromise, pareto_front
from srgan_lightning.tools.report.validation import Image as ValidationImage
from srgan_lightning.tools.report.validation import largest_error_crop
from srgan_lightning.train import train
from tests.conftest import TINY_FACES, TINY_SRGAN

pytestmark = pytest.mark.slow  # all but one use a trained run
QUICK = [*TINY_SRGAN, *TINY_FACES, "trainer.max_steps=4", "trainer.val_check_interval=2"]


def keep_hydra(run: Path, config: DictConfig, *overrides: str) -> None:
    """Write what `@hydra.main` writes into a run directory."""
    (run / ".hydra").mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, run / ".hydra/config.yaml")
    OmegaConf.save(list(overrides), run / ".hydra/overrides.yaml")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DictConfig]:
    """Train one tiny run, from which the tests make sweeps."""
    folder = tmp_path_factory.mktemp("trained")
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        config = compose("train", [f"run_dir={folder}", *QUICK])
    train(config)
    return folder, config


@pytest.fixture
def sweep(trained: tuple[Path, DictConfig], tmp_path: Path) -> Path:
    """Make two finished runs with edited scores, one failed run and one killed run."""
    run, config = trained
    folder = tmp_path / "sweep"
    for number, (adversarial, psnr, ssim, swd) in enumerate([("0", 30.0, 0.9, 0.4), ("0.0010000001", 28.0, 0.8, 0.1)]):
        shutil.copytree(run, folder / str(number))
        keep_hydra(folder / str(number), config, f"loss.adversarial={adversarial}", "seed=3")
        summary = json.loads((run / "summary.json").read_text()) | {"psnr_y": psnr, "ssim_y": ssim, "swd": swd}
        (folder / str(number) / "summary.json").write_text(json.dumps(summary))
    for number in (2, 10):
        keep_hydra(folder / str(number), config, f"loss.adversarial={number}", "seed=3")
    head = "[2026-01-01 00:00:00,000][srgan_lightning.cli.errors][ERROR]"
    log = f"{head} - Job 2 failed. The weights are | missing: get them.\n"
    (folder / "2/train.log").write_text(log)
    return folder


def test_a_sweep_gets_a_table_a_picture_and_advice(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(sweep), "--perception", "swd", "-o", str(tmp_path / "report")]) == 0
    said = capsys.readouterr().out
    assert f"Closest to the truth pixel by pixel (PSNR-Y 30.00 dB): {sweep}/0/generator.safetensors" in said
    assert f"Closest in structure (SSIM-Y 0.9000): {sweep}/0/generator.safetensors" in said
    assert f"Most natural to look at (swd 0.1): {sweep}/1/generator.safetensors" in said
    assert "a proxy for LPIPS that needs no weights; lower is better" in said
    assert "Run 2 failed: The weights are | missing: get them." in said
    assert "Unfinished (stopped, or still running): 10." in said

    with (tmp_path / "report/report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["bicubic", "0", "1", "2", "10"]
    assert [row["state"] for row in rows] == ["", "finished", "finished", "failed", "unfinished"]
    assert [row["Pareto"] for row in rows] == ["", "yes", "yes", "", ""]
    assert [row["settings"] for row in rows[1:]] == [f"adversarial={value}" for value in ("0", "0.001", "2", "10")]
    assert [float(row["PSNR-Y"]) for row in rows[1:3]] == [30, 28]
    assert float(rows[0]["perception"]) == json.loads((sweep / "0/summary.json").read_text())["bicubic_swd"]

    text = (tmp_path / "report/report.md").read_text()
    assert "| 1 | adversarial=0.001 | 28.00 | 0.8000 | 0.1 | yes | finished |" in text
    assert "![Distortion against perception](report.png)" in text
    with Image.open(tmp_path / "report/report.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(picture.width * picture.height)}
        corner = picture.convert("RGBA").getpixel((2, 2))
    assert corner == (244, 244, 242, 255)  # opaque, so that a dark page does not show through
    assert (213, 94, 0) in colours  # the colour of the Pareto front
    assert not (sweep / "report.md").exists()


def test_perception_by_vgg_features_of_a_given_file(
    sweep: Path, tmp_path: Path, shared: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = shared("weights/vgg19_conv1_1-conv3_4.safetensors")
    assert main([str(sweep), "--vgg-weights", str(weights), "--images", "2"]) == 0
    assert "squared distance of VGG19 features" in capsys.readouterr().out
    with (sweep / "report.csv").open(newline="") as file:
        distances = [float(row["perception"]) for row in csv.DictReader(file) if row["perception"]]
    assert len(distances) == 3
    assert all(distance > 0.01 for distance in distances)


def test_missing_vgg_weights_name_the_options_of_the_report(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(sweep), "--vgg-weights", "absent.safetensors"]) == 1
    assert "--perception vgg takes --vgg-weights and --vgg-layer" in capsys.readouterr().err


def test_auto_uses_swd_if_lpips_weights_are_unavailable(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        asked.append("download")
        raise OSError("network is unreachable")

    asked: list[str] = []
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(sweep / "hub"))
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    assert main([str(sweep)]) == 0
    said = capsys.readouterr().out
    assert "Perception is swd" in said
    assert "LPIPS was not used, because its weights are not on this machine" in said
    assert not asked
    assert main([str(sweep), "--perception", "lpips"]) == 1
    error = capsys.readouterr().err
    assert "network is unreachable" in error
    assert "use --metric-weights DIR, or --perception swd" in error


def test_bicubic_counts_where_no_run_beats_it(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def report(psnr: float, swd: float) -> tuple[str, list[str]]:
        for number in (0, 1):
            path = sweep / str(number) / "summary.json"
            bicubic = {"bicubic_psnr_y": psnr, "bicubic_ssim_y": 0.7, "bicubic_swd": swd}
            path.write_text(json.dumps(json.loads(path.read_text()) | bicubic))
        assert main([str(sweep), "--perception", "swd"]) == 0
        with (sweep / "report.csv").open(newline="") as file:
            return capsys.readouterr().out, [row["Pareto"] for row in csv.DictReader(file)][1:3]

    said, front = report(30.5, 0.2)  # beats the run of (30 dB, 0.4) in both, that of (28, 0.1) in PSNR alone
    assert front == ["no", "yes"]
    assert f"(PSNR-Y 30.00 dB): {sweep}/0/generator.safetensors, but no run beats bicubic (30.50 dB)\n" in said
    assert f"(SSIM-Y 0.9000): {sweep}/0/generator.safetensors\n" in said
    assert f"Best compromise (PSNR-Y 28.00 dB, swd 0.1): {sweep}/1/generator.safetensors\n" in said
    said, front = report(31.0, 0.05)
    assert front == ["no", "no"]
    assert f"(swd 0.1): {sweep}/1/generator.safetensors, but no run beats bicubic (0.05)\n" in said
    assert "Best compromise: bicubic, which no run beats in PSNR-Y or swd." in said


def test_runs_whose_data_are_gone_or_foreign_are_compared_without_crops(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sweep / "0/.hydra/config.yaml"
    config = OmegaConf.load(path)
    for data, reason in (
        ({"_target_": "srgan_lightning.data.folder.FolderData", "train_dir": "gone", "val_dir": "gone"}, "gone"),
        ({"_target_": "os.system", "command": f"touch {sweep}/exploited"}, "os.system, which is not a class"),
    ):
        OmegaConf.save({**config, "data": data}, path)
        assert main([str(sweep)]) == 0
        said = capsys.readouterr().out
        assert "No crops are shown" in said
        assert reason in said
    assert not (sweep / "exploited").exists()
    assert main([str(sweep), "--perception", "fid"]) == 1
    assert "validation images" in capsys.readouterr().err


@pytest.mark.parametrize("group", ["data", "degradation"])
@pytest.mark.parametrize(
    "place",
    [
        lambda good, call: call,
        lambda good, call: {**good, "extra": call},
        lambda good, call: {**good, "extra": [[call]]},  # YAML writes `- _target_: os.mkdir`
        lambda good, call: {**call, "_target_": "srgan_lightning.data.cache.os.mkdir"},  # begins like the package
        lambda good, call: {**call, "mode": "os.mkdir", "_target_": "${.mode}"},
    ],
    ids=["whole", "nested", "in a list", "imported by ours", "interpolated"],
)
def test_a_foreign_run_calls_nothing(
    sweep: Path, capsys: pytest.CaptureFixture[str], group: str, place: Callable[..., dict[str, object]]
) -> None:
    path = sweep / "0/.hydra/config.yaml"
    config = OmegaConf.load(path)
    call = {"_target_": "os.mkdir", "path": str(sweep / "exploited")}
    OmegaConf.save({**config, group: place(config[group], call)}, path)
    assert main([str(sweep), "--perception", "swd"]) == 0
    assert not (sweep / "exploited").exists()
    assert "os.mkdir, which is not a class of this package" in capsys.readouterr().out


def test_a_stopped_run_is_unfinished(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = sweep / "1/summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"interrupted": True}))
    assert main([str(sweep), "--perception", "swd"]) == 0
    said = capsys.readouterr().out
    assert "Unfinished (stopped, or still running): 1, 10." in said
    assert f"Most natural to look at (swd 0.4): {sweep}/0/generator.safetensors" in said


def test_the_table_names_its_protocol(sweep: Path) -> None:
    assert main([str(sweep), "--perception", "swd"]) == 0
    protocol = json.loads((sweep / "0/summary.json").read_text())["protocol"]
    assert f"- Protocol: {protocol}." in (sweep / "report.md").read_text()


def test_a_run_that_python_code_started_is_finished(trained: tuple[Path, DictConfig]) -> None:
    folder, config = trained
    assert Run(folder).state == "finished"  # without a configuration beside its results it would count as damaged
    assert OmegaConf.load(folder / ".hydra/config.yaml") == config


def test_a_run_gets_its_curves(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(sweep / "1")]) == 0
    assert f"Written: {sweep}/1/curves.png" in capsys.readouterr().out
    curves = find_runs(sweep)[1].curves()
    assert curves["loss/generator"][0] == curves["d_real"][0] == [1, 2, 3, 4]
    assert curves["val/psnr_y"][0] == curves["val/bicubic_psnr_y"][0] == [2, 4]
    assert "Gradient that each term sends into SR" in [axes.get_title() for axes in draw_curves(curves, "run").axes]
    with Image.open(sweep / "1/curves.png") as picture:
        assert picture.getpixel((2, 2))[:3] == (244, 244, 242)
        shown = {colour[:3] for _, colour in picture.getcolors(picture.width * picture.height)}
    assert {(0, 114, 178), (213, 94, 0)} <= shown


@pytest.mark.parametrize("terms", [("pixel",), ("pixel", "adversarial"), ("pixel", "adversarial", "grid")])
def test_a_title_is_right_above_its_legend(terms: tuple[str, ...]) -> None:
    names = ["loss/generator", "loss/discriminator", *(f"loss/{term}" for term in terms)]
    figure = draw_curves({name: ([1, 2], [0.1, 0.2]) for name in names}, "run")
    figure.canvas.draw()
    (axes,) = figure.axes
    assert len(axes.get_legend().get_texts()) == len(names)
    gap = axes.title.get_window_extent().y0 - axes.get_legend().get_window_extent().y1
    assert -1 < gap * 72 / figure.dpi < 8  # points


def test_a_small_image_does_not_shrink_the_crop_of_others() -> None:
    small = ValidationImage("small", torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 16, 16))
    large = ValidationImage("large", torch.zeros(1, 3, 24, 24), torch.zeros(1, 3, 96, 96))
    large.hr[:, :, 24:88, 16:80] = 1  # on the grid of an eighth of 64
    for images in ([small, large], [large, small]):
        crop = largest_error_crop(images)
        assert (crop.image.name, crop.top, crop.left, crop.side) == ("large", 24, 16, 64)


def test_folders_without_a_run_are_reported(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "none", "no run in it"), (tmp_path / "empty", "no run"), (tmp_path, str(sweep))):
        assert main([str(path)]) == 1
        assert words in capsys.readouterr().err
    assert main([str(sweep / "10")]) == 1
    assert "no readable metrics.csv" in capsys.readouterr().err
    for number in (0, 1):
        (sweep / str(number) / "summary.json").unlink()
    assert main([str(sweep)]) == 0
    assert "No run is finished" in capsys.readouterr().out
    assert "unfinished" in (sweep / "report.md").read_text()


def test_the_front_is_what_nothing_beats() -> None:
    points = [(30.0, 0.5), (29.0, 0.2), (28.5, 0.3), (28.0, 0.1), (30.0, 0.6), (20.0, 0.1)]
    assert pareto_front(points) == [0, 1, 3]
    assert compromise(points, [0, 1, 3]) == 1
    assert compromise([(30.0, 0.5)], [0]) == 0
    for a in pareto_front(points):
        assert not any(p[0] >= points[a][0] and p[1] <= points[a][1] and p != points[a] for p in points)
