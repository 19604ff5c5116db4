"""Perceptual scores at every validation, which can select the best checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.errors import InstantiationException
from lightning import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from torchmetrics import MeanMetric

from srgan_lightning.train import train
from srgan_lightning.training.callbacks import perceptual_scores
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY_FACES, TINY_SRGAN

pytestmark = pytest.mark.slow

OPTION = "callbacks.perceptual_scores"
QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=2", "trainer.val_check_interval=1"]
VGG = [f"{OPTION}.vgg.weights=random", f"{OPTION}.vgg.layer=relu1_2"]


class Distances(Callback):
    """Compute the feature distance of each image from the validation's outputs."""

    def __init__(self) -> None:
        self.rounds: list[list[float]] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rounds.append([])

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, loader: int = 0
    ) -> None:
        (scores,) = (c for c in trainer.callbacks if isinstance(c, perceptual_scores.PerceptualScores))  # type: ignore[attr-defined]
        features = scores.metrics["vgg"].loss.features
        for sr, hr in zip(outputs, batch["hr"], strict=True):
            rounded = (sr.clamp(0, 1) * 255).round() / 255
            (a,), (b,) = features(rounded[None]), features(hr[None])
            self.rounds[-1].append(float((a - b).square().mean()))


class Rising(MeanMetric):
    """A mock network, with a better score at the first validation than later; count how often it is built."""

    built = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).built += 1
        self.value = 0.0

    def reset(self) -> None:
        super().reset()
        self.value = getattr(self, "value", 0.0) + 1

    def update(self, sr: torch.Tensor, hr: torch.Tensor) -> None:  # type: ignore[override]
        assert sr.shape == hr.shape
        super().update(self.value)


def test_scores_are_logged_and_select_the_best(
    configure: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual_scores, "load_metric", lambda name, otherwise: Rising())
    monitor = ["callbacks.best.monitor=val/lpips", "callbacks.best.mode=min", f"{OPTION}.metrics=[vgg,lpips,dists]"]
    spy = Distances()
    summary = train(configure(*QUICK, *monitor, *VGG), [spy])
    assert summary["checkpoint_steps"] == 1  # the first validation was the better one
    assert Rising.built == 2
    assert summary["vgg"] == pytest.approx(sum(spy.rounds[0]) / len(spy.rounds[0]), rel=1e-5)
    assert json.loads((tmp_path / "run/summary.json").read_text())["lpips"] > 0


def test_unavailable_weights_are_reported_before_training(
    configure: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    for name, words in (("lpips", "The weights of lpips could not be loaded"), ("dists", "remove dists from")):
        with pytest.raises(UserError, match=words):
            train(configure(*QUICK, f"{OPTION}.metrics=[{name}]"))
    with pytest.raises(UserError, match=r"vgg\.weights=nowhere\.pth: no such file"):
        train(configure(*QUICK, f"{OPTION}.metrics=[vgg]", f"{OPTION}.vgg.weights=nowhere.pth"))
    with pytest.raises(InstantiationException, match="are unknown: use some of vgg, lpips, dists"):
        train(configure(*QUICK, f"{OPTION}.metrics=[psnr]"))
    assert not list(tmp_path.rglob("*.ckpt"))
