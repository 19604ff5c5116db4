"""If training starts from given weights, their scores are logged first."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from srgan_lightning.train import train
from tests.conftest import TINY, TINY_FACES

Configure = Callable[..., DictConfig]
OPTIONS = ["model=srresnet", "loss=l1", "data=synthetic", *TINY, *TINY_FACES, "trainer.val_check_interval=2"]


def rows(cfg: DictConfig) -> list[dict[str, str]]:
    return [row for row in csv.DictReader((Path(cfg.run_dir) / "metrics.csv").open()) if row["val/psnr_y"]]


@pytest.mark.slow
def test_initial_weights_are_scored_before_the_first_update(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    first = configure(*OPTIONS, "trainer.max_steps=4", run="first")
    before = train(first)
    assert [row["step"] for row in rows(first)] == ["2", "4"]  # scores of random weights mean nothing
    assert not [key for key in before if key.startswith("start_")]
    weights = f"{first.run_dir}/generator.safetensors"
    second = configure(*OPTIONS, "trainer.max_steps=2", f"model.init_from={weights}", run="second")
    summary = train(second)
    assert [row["step"] for row in rows(second)] == ["0", "2"]
    for name in ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "swd"):
        assert summary[f"start_{name}"] == pytest.approx(before[name], rel=1e-5)
        assert float(rows(second)[0][f"val/{name}"]) == pytest.approx(before[name], rel=1e-5)
    assert summary["psnr_y"] != summary["start_psnr_y"]
    assert "start" in capsys.readouterr().out.split("update 2")[-1]

    resumed = configure(*OPTIONS, "trainer.max_steps=4", f"model.init_from={weights}", "ckpt_path=last", run="second")
    summary = train(resumed)
    assert [row["step"] for row in rows(resumed)] == ["0", "2", "4"]
    assert summary["start_psnr_y"] == pytest.approx(before["psnr_y"], rel=1e-5)
    assert json.loads((Path(resumed.run_dir) / "summary.json").read_text())["start_psnr_y"] == summary["start_psnr_y"]
