"""W&B gets a table of images at the end, and health events as alerts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb
from lightning import Callback
from omegaconf import DictConfig
from PIL import Image

from srgan_lightning.metrics.psnr_ssim import psnr_ssim
from srgan_lightning.train import train
from tests.conftest import TINY_FACES, TINY_SRGAN
from tests.helpers.wandb_file import records, values

pytestmark = pytest.mark.slow

QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "logger=wandb", "trainer.max_steps=1"]
Configure = Callable[..., DictConfig]


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))  # where W&B keeps the pictures of tables
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()  # it reads the environment once a process


def kept(run: Path, kind: str) -> list[Any]:
    """Return a run's records of one kind."""
    wandb.teardown()  # its service writes in the background
    (path,) = run.glob("wandb/offline-run-*/*.wandb")
    return [getattr(record, kind) for record in records(path) if record.WhichOneof("record_type") == kind]


def history_row(record: Any) -> dict[str, Any]:
    return values(record.item)


class Scores(Callback):
    """Return PSNR-Y of each validation image by its number."""

    def __init__(self) -> None:
        self.psnr: dict[int, float] = {}

    def on_validation_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        scored = psnr_ssim(outputs.clamp(0, 1).mul(255).round() / 255, batch["hr"], 4)[:, 0].tolist()
        self.psnr |= dict(zip(batch["index"].tolist(), scored, strict=True))


def test_the_table_has_the_worst_images_first(configure: Configure, tmp_path: Path) -> None:
    spy = Scores()
    train(configure(*QUICK, "data.val_images=12", "data.val_batch_size=3", "callbacks.sample_grid.images=4"), [spy])
    artifacts = kept(tmp_path / "run", "artifact")
    (contents,) = [artifact.manifest.contents for artifact in artifacts if artifact.type == "run_table"]
    files = {file.path: file.local_path for file in contents}
    table = json.loads(Path(files["samples/table.table.json"]).read_text(encoding="utf-8"))
    assert len([row for row in map(history_row, kept(tmp_path / "run", "history")) if "samples/table.path" in row]) == 1
    assert table["columns"][:5] == ["name", "LR", "bicubic", "SR", "HR"]
    assert table["columns"][5:] == ["psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y"]

    by_psnr = sorted(spy.psnr, key=spy.psnr.__getitem__)
    assert len(by_psnr) == 12
    expected = by_psnr[:8] + [index for index in range(4) if index not in by_psnr[:8]]
    assert [row[0] for row in table["data"]] == [f"face_{index:06d}" for index in expected]

    for name, lr, *pictures, psnr, ssim, bicubic_psnr, bicubic_ssim in table["data"]:
        with Image.open(files[lr["path"]]) as image:
            assert image.size == (16, 16), name
        bicubic, sr, hr = (
            torch.from_numpy(np.array(Image.open(files[picture["path"]]))).permute(2, 0, 1)[None] / 255
            for picture in pictures
        )
        assert psnr_ssim(sr, hr, 4)[0, :2].tolist() == pytest.approx([psnr, ssim], abs=1e-3)
        assert psnr_ssim(bicubic, hr, 4)[0, :2].tolist() == pytest.approx([bicubic_psnr, bicubic_ssim], abs=1e-3)


def test_health_events_are_alerts(configure: Configure, tmp_path: Path) -> None:
    train(configure(*QUICK, "model.discriminator_optimizer.lr=0"))
    alerts = kept(tmp_path / "run", "alert")
    said = (tmp_path / "run/health.log").read_text(encoding="utf-8").splitlines()
    assert [alert.text for alert in alerts] == said
    (rate,) = [alert for alert in alerts if alert.title == "Health: discriminator rate"]
    assert "learning rate is 0" in rate.text
    assert rate.level == "WARN"


def test_a_failure_of_wandb_is_reported_and_training_continues(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the service is gone")

    monkeypatch.setattr(wandb.Run, "alert", fail)
    monkeypatch.setattr(wandb, "Table", fail)
    assert train(configure(*QUICK, "model.discriminator_optimizer.lr=0"))["steps"] == 1
    said = " ".join(capsys.readouterr().out.split())
    for what in ("alert", "table of images"):
        assert f"W&B: the {what} is not logged (OSError: the service is gone)." in said
    assert (tmp_path / "run/generator.safetensors").is_file()
