"""`evaluate`: its scores, all kinds of images, and its errors."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchmetrics.image import KernelInceptionDistance

from srgan_lightning.artifacts.artifact import save_artifact
from srgan_lightning.evaluate import main
from srgan_lightning.imaging.ops import resize_bicubic, round_to_8_bits
from srgan_lightning.imaging.reading import open_image, to_tensor
from srgan_lightning.inference.comparison_grid import grid_files
from srgan_lightning.inference.evaluation import bicubic_upscaler
from srgan_lightning.inference.self_ensemble import self_ensemble
from srgan_lightning.losses import PerceptualLoss
from srgan_lightning.metrics.perceptual import PerceptualMetrics
from srgan_lightning.metrics.pictures import Pictures
from srgan_lightning.metrics.psnr_ssim import psnr_ssim
from srgan_lightning.networks import Generator


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the command in this process; return exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        GlobalHydra.instance().clear()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0), *capsys.readouterr()
        return 0, *capsys.readouterr()

    return run


@pytest.mark.parametrize("given_lr", [True, False])
def test_bicubic_on_set5(
    evaluate: Callable[..., Any], shared: Callable[[str], Path], tmp_path: Path, given_lr: bool
) -> None:
    arguments = ["weights=bicubic", f"hr_dir={shared('data/Set5/HR')}", "json=scores/out.json", "markdown=out.md"]
    if given_lr:
        arguments.append(f"lr_dir={shared('data/Set5/LR_bicubic_x4')}")
    code, out, err = evaluate(*arguments)
    assert code == 0, err
    assert "Protocol" in out
    assert "28.43" in out
    report = json.loads((tmp_path / "scores/out.json").read_text())
    (result,) = report["results"]
    assert (result["n"], result["weights"]) == (5, "bicubic")
    assert result["psnr_y"] == pytest.approx(28.43, abs=0.02)
    assert result["ssim_y"] == pytest.approx(0.811, abs=0.002)
    assert (
        result["psnr_y"] == result["bicubic_psnr_y"] == pytest.approx(np.mean([i["psnr_y"] for i in result["images"]]))
    )
    assert [Path(image["name"]).stem for image in result["images"]] == ["baby", "bird", "butterfly", "head", "woman"]
    assert ("given" in report["protocol"]["lr"]) == given_lr
    assert "| 28.43 | 0.8" in (tmp_path / "out.md").read_text()
    assert not list(tmp_path.rglob(".hydra"))


def test_several_sets_and_weights_make_one_table(
    evaluate: Callable[..., Any], photos: Callable[..., Path], tmp_path: Path
) -> None:
    a, b = photos("a", 2, (40, 48)), photos("b/deeper", 3, (37, 45)).parent
    generator = Generator(8, 1, global_skip="bicubic")  # zero-initialised: it is bicubic interpolation
    save_artifact(tmp_path / "tiny.safetensors", generator, {})
    code, out, err = evaluate(f"hr_dir=[{a},{b}]", "weights=[bicubic,tiny.safetensors]", "json=o.json", "grid=g.png")
    assert code == 0, err
    results = json.loads((tmp_path / "o.json").read_text())["results"]
    assert [(r["set"], r["weights"], r["n"]) for r in results] == [
        (str(folder), weights, n) for folder, n in ((a, 2), (b, 3)) for weights in ("bicubic", "tiny.safetensors")
    ]
    assert results[1]["psnr_y"] == pytest.approx(results[0]["psnr_y"], abs=1e-3)
    assert out.count("45x37 cut to a multiple of 4") == 1
    assert "photo0.png and 2 more: 45x37 cut to a multiple of 4" in out
    grids = {path.name for path in tmp_path.glob("g_*.png")}
    assert grids == {f"g_{folder}_{weights}.png" for folder in "ab" for weights in ("bicubic", "tiny", "all")}
    with Image.open(tmp_path / "g_b_tiny.png") as grid:
        assert grid.size == (6 * 260 + 4, 20 + 3 * 260 + 4)


def test_bicubic_is_scored_once_for_all_weights(
    evaluate: Callable[..., Any], photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[torch.Tensor] = []

    def counted(sr: torch.Tensor, hr: torch.Tensor, border: int) -> torch.Tensor:
        scored.append(sr)
        return psnr_ssim(sr, hr, border)

    monkeypatch.setattr("srgan_lightning.inference.evaluation.psnr_ssim", counted)
    weights = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for file in weights:
        save_artifact(file, Generator(8, 1), {})
    code, _, err = evaluate(f"hr_dir={photos('set', 3)}", f"weights=[{weights[0]},{weights[1]}]", "json=o.json")
    assert code == 0, err
    a, b = json.loads((tmp_path / "o.json").read_text())["results"]
    assert len(scored) == 3 * (2 + 1)
    assert a["bicubic_psnr_y"] == b["bicubic_psnr_y"] != a["psnr_y"]


def test_grids_of_equal_names_are_kept_apart(
    evaluate: Callable[..., Any], photos: Callable[..., Path], tmp_path: Path
) -> None:
    sets = [photos(f"{name}/HR", 1) for name in ("a", "b")]
    runs = [tmp_path / name / "generator.safetensors" for name in ("one", "two")]
    for run in runs:
        run.parent.mkdir()
        save_artifact(run, Generator(8, 1, global_skip="bicubic"), {})
    given = f"weights=[bicubic,{runs[0]},{runs[1]}]"
    code, _, err = evaluate(f"hr_dir=[{sets[0]},{sets[1]}]", given, "grid=g.png")
    assert code == 0, err
    of_each = ("all", "bicubic", "one_generator", "two_generator")
    names = [f"g_{of_set}_HR_{name}.png" for of_set in "ab" for name in of_each]
    assert sorted(path.name for path in tmp_path.glob("g_*.png")) == names


def test_every_grid_has_its_own_file() -> None:
    def names(sets: list[str], weights: list[str]) -> list[str]:
        return [str(path) for path in grid_files("out/g.png", sets, weights)]

    assert names(["x/HR"], ["a.ckpt"]) == ["out/g.png"]
    assert names(["HR", "/x/HR"], ["a.ckpt"]) == ["out/g_HR_a.png", "out/g_x_HR_a.png"]
    assert names(["HR"], ["a.ckpt", "a.safetensors"]) == ["out/g_1_HR_a.png", "out/g_2_HR_a.png"]
    assert len(set(names(["a", "a_b"], ["b_c", "c"]))) == 4
    assert len(set(names(["x", "x"], ["bicubic"]))) == 2


def test_every_kind_of_image_is_read_and_its_conversion_reported(evaluate: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "kinds"
    folder.mkdir()
    ramp = np.linspace(0, 255, 48 * 40).reshape(48, 40).astype(np.uint8)
    rgb = Image.fromarray(np.stack([ramp, ramp.T.reshape(48, 40), 255 - ramp], axis=-1))
    rgb.save(folder / "plain.png")
    rgb.convert("L").save(folder / "grey.png")
    rgb.convert("RGBA").save(folder / "alpha.png")
    rgb.quantize(64).save(folder / "palette.png")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(folder / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.save(folder / "turned.jpg", exif=exif)
    code, out, err = evaluate(f"hr_dir={folder}", "json=o.json")
    assert code == 0, err
    for name, words in (
        ("grey.png", "greyscale"),
        ("alpha.png", "alpha"),
        ("palette.png", "palette"),
        ("cmyk.jpg", "CMYK"),
        ("deep.png", "16 bits"),
        ("turned.jpg", "EXIF"),
    ):
        assert any(name in line and words in line for line in out.splitlines()), name
    assert "plain.png: " not in out
    assert json.loads((tmp_path / "o.json").read_text())["results"][0]["n"] == 7
    assert to_tensor(open_image(folder / "turned.jpg", "x")).shape == (3, 40, 48)
    deep = to_tensor(open_image(folder / "deep.png", "x"))
    assert torch.equal(deep[0], torch.from_numpy(ramp))


def test_self_ensemble_averages_eight_views() -> None:
    lr = torch.rand(1, 3, 6, 9)
    torch.testing.assert_close(self_ensemble(bicubic_upscaler(4))(lr), bicubic_upscaler(4)(lr))  # bicubic is symmetric
    shift = self_ensemble(lambda x: x * torch.arange(1.0, 1 + x.shape[-1]))(torch.ones(1, 1, 4, 4))
    torch.testing.assert_close(shift, torch.full((1, 1, 4, 4), 2.5))


@pytest.mark.slow
def test_mistakes_are_reported(evaluate: Callable[..., Any], photos: Callable[..., Path], tmp_path: Path) -> None:
    good, tiny = photos("good", 2, (48, 48)), photos("tiny", 1, (16, 16))
    save_artifact(tmp_path / "x2.safetensors", Generator(4, 1, scale=2), {})
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "x2.safetensors").read_bytes()[:500])
    for arguments, words in (
        ([], ["hr_dir is not set", "hr_dir=FOLDER"]),
        (["hr_dir=nowhere"], ["hr_dir=nowhere", "looked in"]),
        ([f"hr_dir={tiny}"], ["16x16", "11 pixels"]),
        ([f"hr_dir={good}", "weights=x2.safetensors"], ["by 2, not by 4", "scale=2"]),
        ([f"hr_dir={good}", "weights=cut.safetensors"], ["cut.safetensors", "not a complete safetensors file"]),
        ([f"hr_dir={good}", "weights=no-such-model"], ["no-such-model", "no bundled model"]),
        ([f"hr_dir={good}", "metrics=[vmaf]"], ["vmaf", "lpips"]),
        ([f"hr_dir={good}", "metrics=[vgg]", "vgg.weights=nowhere.pth"], ["vgg.weights=nowhere.pth: no such file"]),
        ([f"hr_dir={good}", f"lr_dir=[{good},{good}]"], ["lr_dir has 2", "hr_dir 1"]),
        ([f"hr_dir={good}", f"lr_dir={good}"], ["LR must be 12x12"]),
        ([f"hr_dir={good}", "device=cuda:99"], ["cuda:99"]),
    ):
        code, _, err = evaluate(*arguments, "json=never.json")
        assert code == 1
        assert "Traceback" not in err
        assert "quickstart" not in err  # that option is for training
        for word in words:
            assert word in err, arguments
    assert not (tmp_path / "never.json").exists()


def test_perceptual_metrics_without_weights_raise_user_error(
    evaluate: Callable[..., Any], photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    code, _, err = evaluate(f"hr_dir={photos('good', 2)}", "metrics=[lpips]", "metric_weights=none")
    assert code == 1
    assert "lpips" in err
    assert "metric_weights=FOLDER" in err


@pytest.mark.slow
def test_lpips_from_a_local_folder(
    evaluate: Callable[..., Any], photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the right file in the folder, nothing is downloaded. The weights are random, so the score is not tested."""
    from torchvision.models import AlexNet_Weights, alexnet

    name = AlexNet_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(alexnet(weights=None).state_dict(), tmp_path / "hub/checkpoints" / name)
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *_, **__: pytest.fail("asked the network"))
    arguments = [f"hr_dir={photos('good', 2, (80, 80))}", "metrics=[lpips]", f"metric_weights={tmp_path / 'hub'}"]
    code, out, err = evaluate(*arguments, "json=o.json")
    assert code == 0, err
    assert json.loads((tmp_path / "o.json").read_text())["results"][0]["lpips"] > 0
    assert "LPIPS" in out


class Pixels(nn.Module):
    """Compute features without weights."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.flatten(1).float()


def test_kid_is_the_same_every_time() -> None:
    """KID uses random subsets above 50 images."""
    metrics = PerceptualMetrics([], None, torch.device("cpu"), {})
    metrics.metrics["kid"] = KernelInceptionDistance(Pixels(), subset_size=2)
    hr, values, after = torch.rand(55, 1, 3, 4, 4), [], []
    for seed in (1, 2):
        for image in hr:
            metrics.update(Pictures("x", image, image * 0.9, image))
        torch.manual_seed(seed)
        values.append(metrics.compute(len(hr))["kid"])
        after.append(float(torch.rand(())))
    assert values[0] == values[1] != 0
    assert after[0] != after[1]  # the global random state is unchanged


def test_vgg_is_the_mean_of_the_perceptual_loss(
    evaluate: Callable[..., Any], photos: Callable[..., Path], tmp_path: Path
) -> None:
    loss = PerceptualLoss("relu1_2", "random")
    state = {f"features.{name}": tensor for name, tensor in loss.features.layers.state_dict().items()}
    save_file(state, tmp_path / "vgg.safetensors")
    folder = photos("good", 3, (48, 40))
    code, out, err = evaluate(
        f"hr_dir={folder}", "metrics=[vgg]", "vgg.layer=relu1_2", "vgg.weights=vgg.safetensors", "json=o.json"
    )
    assert code == 0, err
    distances = []
    for path in sorted(folder.iterdir()):
        hr = to_tensor(open_image(path, path.name))[None] / 255
        lr = round_to_8_bits(resize_bicubic(hr, (12, 10)))
        distances.append(float(loss(round_to_8_bits(resize_bicubic(lr, (48, 40))), hr)))
    result = json.loads((tmp_path / "o.json").read_text())["results"][0]
    assert result["vgg"] == pytest.approx(sum(distances) / 3, rel=1e-5)
    assert "VGG" in out
