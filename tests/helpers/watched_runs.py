"""Runs of both stages with `Health` and `NonFinite`, and their results."""

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from tests.conftest import TINY, TINY_FACES, TINY_SRGAN

CONSTANT_RATE = "~model.generator_scheduler"
SRGAN = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, CONSTANT_RATE, "trainer.val_check_interval=1000"]
SRRESNET = ["experiment=srresnet_celeba", "data=synthetic", *TINY, *TINY_FACES, "trainer.val_check_interval=1000"]
STAGES = {"srgan": SRGAN, "srresnet": SRRESNET}
PERCEPTUAL = ["loss.perceptual=1", "loss.vgg.weights=random", "loss.vgg.layer=relu1_2"]


def log_of(cfg: DictConfig) -> str:
    """Return a run's health.log."""
    path = Path(cfg.run_dir) / "health.log"
    return path.read_text() if path.exists() else ""


def checkpoint(cfg: DictConfig) -> Any:
    return torch.load(Path(cfg.run_dir) / "checkpoints/last.ckpt", weights_only=True)


def assert_same(a: Any, b: Any, *keys: str) -> None:
    """Assert that parts of checkpoints are bit-identical."""
    for key in keys:
        assert a[key].keys() == b[key].keys()
        for name, value in a[key].items():
            assert torch.equal(value, b[key][name]), f"{key}: {name}"
    for one, other in zip(a["optimizer_states"], b["optimizer_states"], strict=True):
        assert one["state"].keys() == other["state"].keys()
        for number, moments in one["state"].items():
            assert all(torch.equal(value, other["state"][number][name]) for name, value in moments.items())
