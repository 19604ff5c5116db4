"""The current code resumes, evaluates, upscales and reports files of release 0.1.0."""

import json
import math
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from safetensors.torch import load_file

from srgan_lightning import load_generator, upscale_image
from srgan_lightning.train import train

WITNESSES = Path(__file__).parents[1] / "witnesses" / "0.1.0.tar.xz"


@pytest.fixture
def witnesses(tmp_path: Path) -> Path:
    """Unpack the archive."""
    with tarfile.open(WITNESSES) as archive:
        archive.extractall(tmp_path / "witnesses", filter="data")
    return tmp_path / "witnesses"


def configuration(run_dir: Path, **trainer: object) -> DictConfig:
    """Return the configuration of a run directory, with paths for resuming it in its current place."""
    cfg = OmegaConf.load(run_dir / ".hydra" / "config.yaml")
    assert isinstance(cfg, DictConfig)
    cfg.run_dir, cfg.ckpt_path = str(run_dir), str(run_dir / "checkpoints" / "last.ckpt")
    cfg.trainer.update(trainer)
    OmegaConf.set_struct(cfg, True)
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["srresnet", "srgan"])
def test_an_old_run_is_resumed_to_the_weights_of_its_time(stage: str, witnesses: Path) -> None:
    run_dir = witnesses / stage
    before = load_file(run_dir / "generator.safetensors")
    summary = train(configuration(run_dir, max_steps=6))
    assert summary["steps"] == 6
    after, expected = load_file(run_dir / "generator.safetensors"), load_file(witnesses / f"{stage}_at_6.safetensors")
    assert after.keys() == expected.keys()
    for name, weights in expected.items():
        torch.testing.assert_close(after[name], weights, rtol=1e-3, atol=1e-4)
    moved = max(float((after[name].float() - before[name].float()).abs().max()) for name in before)
    assert moved > 1e-3  # so that the tolerance above is meaningful
    rows = (run_dir / "metrics.csv").read_text().splitlines()
    steps = [int(float(row.split(",")[rows[0].split(",").index("step")])) for row in rows[1:]]
    assert sorted({*steps}) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("file", ["generator.safetensors", "checkpoints/last.ckpt", "checkpoints/best.ckpt"])
@pytest.mark.parametrize("stage", ["srresnet", "srgan"])
def test_old_weights_upscale(stage: str, file: str, witnesses: Path) -> None:
    path = witnesses / stage / file
    assert sum(weights.numel() for weights in load_generator(str(path)).parameters()) == 3595
    assert upscale_image(Image.new("RGB", (12, 8), "gray"), str(path)).size == (48, 32)


@pytest.mark.slow
def test_old_generators_have_their_old_scores(
    witnesses: Path, run_module: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    (tmp_path / "hr").mkdir()
    Image.effect_mandelbrot((48, 48), (-1, -1, 1, 1), 90).convert("RGB").save(tmp_path / "hr" / "mandelbrot.png")
    weights = ",".join(str(witnesses / stage / "generator.safetensors") for stage in ("srresnet", "srgan"))
    done = run_module("evaluate", f"weights=[{weights}]", "hr_dir=hr", "json=scores.json")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    found = [(row["psnr_y"], row["ssim_y"], row["psnr_rgb"], row["bicubic_psnr_y"]) for row in scores["results"]]
    assert found[0] == pytest.approx((21.88175, 0.621656, 20.56098, 21.88938), abs=1e-3)
    assert found[1] == pytest.approx((21.88368, 0.621819, 20.56170, 21.88938), abs=1e-3)


@pytest.mark.slow
def test_an_old_sweep_is_reported(
    witnesses: Path, run_module: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    done = run_module("report", str(witnesses / "sweep"))
    assert done.returncode == 0, done.stderr
    table = done.stdout
    for job in ("0", "1"):
        summary = json.loads((witnesses / "sweep" / job / "summary.json").read_text())
        assert f"{math.floor(summary['psnr_y'] * 100) / 100:.1f}" in table
