"""The results of a run: the delivered generator, its scores, and its test."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from srgan_lightning.artifacts.artifact import read_artifact
from srgan_lightning.metrics.psnr_ssim import PSNRSSIM
from srgan_lightning.networks import Generator
from srgan_lightning.train import train
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY_FACES, TINY_SRGAN, TINY_UNET

pytestmark = pytest.mark.slow

Configure = Callable[..., DictConfig]
SRGAN = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.val_check_interval=2"]


def summary_of(cfg: DictConfig) -> dict[str, Any]:
    return dict(json.loads((Path(cfg.run_dir) / "summary.json").read_text()))


@pytest.mark.parametrize("experiment", ["paper_srgan", "srgan_celeba", "faces_srgan"])
def test_stage_two_saves_its_last_generator(configure: Configure, experiment: str) -> None:
    """PSNR would select the first checkpoint, because stage two starts at the best PSNR."""
    tiny = TINY_UNET if experiment == "faces_srgan" else TINY_SRGAN
    options = [f"experiment={experiment}", "data=synthetic", *tiny, *TINY_FACES, "degradation=bicubic"]
    cfg = configure(*options, "loss.vgg.weights=random", "loss.vgg.layer=relu1_2", "loss.perceptual=10",
                    "trainer.max_steps=4", "trainer.val_check_interval=1")  # fmt: skip
    summary = train(cfg)
    assert summary["checkpoint_steps"] == summary["steps"] == 4
    recipe = json.loads(read_artifact(Path(cfg.run_dir) / "generator.safetensors")[1]["recipe"])
    assert recipe["updates"] == 4


def test_the_summary_has_the_update_of_its_scores(configure: Configure) -> None:
    cfg = configure(*SRGAN, "trainer.max_steps=4", "model.generator_optimizer.lr=0.5")  # worse with every update
    summary = train(cfg)
    assert (summary["checkpoint_steps"], summary["steps"]) == (2, 4)


@torch.no_grad()
def test_the_test_split_is_scored_with_the_saved_generator(configure: Configure) -> None:
    cfg = configure(*SRGAN, "trainer.max_steps=4", "model.generator_optimizer.lr=0.5", "test=true")
    summary = train(cfg)
    weights, metadata = read_artifact(Path(cfg.run_dir) / "generator.safetensors")
    last = torch.load(Path(cfg.run_dir) / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert not torch.equal(weights["tail.weight"], last["generator.tail.weight"])
    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    data.setup("test")
    scores, generator = PSNRSSIM(4), Generator(**json.loads(metadata["arguments"])).eval()
    generator.load_state_dict(weights)
    for batch in data.test_dataloader():
        batch = data.on_after_batch_transfer(batch, 0)
        scores.update(generator(batch["lr"]), batch["hr"], batch["lr"], batch["index"])
    assert summary["test_psnr_y"] == pytest.approx(float(scores.compute()["psnr_y"]), abs=1e-4)
    assert summary_of(cfg)["test_psnr_y"] == summary["test_psnr_y"] != summary["psnr_y"]
    assert "test_bicubic_psnr_y" in summary


def test_a_missing_test_split_is_reported_before_training(
    configure: Configure, photos: Callable[..., Path], tmp_path: Path
) -> None:
    data = [
        "data=folder",
        f"data.train_dir={photos('train', 4, (64, 64))}",
        f"data.val_dir={photos('val', 2, (64, 64))}",
    ]
    cfg = configure("experiment=quickstart", *TINY_SRGAN, *data, "data.crop=32", "test=true", "data.test_dir=nowhere")
    with pytest.raises(UserError, match="nowhere"):
        train(cfg)
    assert not (tmp_path / "run").exists()


def test_a_run_without_validations_keeps_its_training(configure: Configure) -> None:
    cfg = configure(*SRGAN, "trainer.max_steps=3", "trainer.limit_val_batches=0")
    assert train(cfg)["checkpoint_steps"] == 3
    assert read_artifact(Path(cfg.run_dir) / "generator.safetensors")[0]
    assert train(configure(*SRGAN, "trainer.max_steps=5", "ckpt_path=last"))["steps"] == 5
