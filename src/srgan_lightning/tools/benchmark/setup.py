"""Prepare configurations and data for measurements, and run a module's step without the Trainer's loop."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning import Callback
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from srgan_lightning.cli.config import config_dir
from srgan_lightning.data.celeba import IMAGES, PARTITION
from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.data.synthetic.faces import SyntheticFaces
from srgan_lightning.training import SRGAN, SRResNet
from srgan_lightning.training.build import build_model
from srgan_lightning.training.precision import AUTO, fastest_precision

FACES = 64  # number of different drawn faces; further files are copies


def draw_celeba(root: Path, images: int) -> None:
    """Write a folder in CelebA's layout: 178x218 JPEG files of drawn faces.

    Args:
        root: a new folder.
        images: number of training files; there is one more for validation, and one for test.
    """
    (root / IMAGES).mkdir(parents=True)
    faces = SyntheticFaces(min(FACES, images), (218, 178))
    for index in range(images + 2):
        path = root / IMAGES / f"{index:06d}.jpg"
        if index < len(faces):
            # With this quality, files are about as large as those of CelebA.
            Image.fromarray(faces.read(index).permute(1, 2, 0).numpy()).save(path, quality=85)
        else:
            shutil.copyfile(root / IMAGES / f"{index % len(faces):06d}.jpg", path)
    lines = [f"{index:06d}.jpg {max(index - images + 1, 0)}\n" for index in range(images + 2)]
    (root / PARTITION).write_text("".join(lines), encoding="utf-8")


def configure(root: Path, device: torch.device, overrides: Sequence[str]) -> DictConfig:
    """Compose conf/train.yaml for a device, with drawn photos if those of the experiment are missing.

    Args:
        root: the folder of `draw_celeba`; runs and caches are written beside it.
        device: determines `trainer=gpu` or `trainer=cpu`, and the precision if it is `auto`.
        overrides: Hydra overrides, `experiment=...` first.
    """
    trainer = f"trainer={'gpu' if device.type == 'cuda' else 'cpu'}"
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        cfg = compose("train", [f"run_dir={root.with_name('run')}", trainer, "loss.vgg.weights=random", *overrides])
    if cfg.data.get("train_dir", "") is None:
        cfg.data.train_dir = cfg.data.val_dir = str(root / IMAGES)
    if "cache_dir" in cfg.data:
        cfg.data.cache_dir = str(root.with_name("cache"))
    if "root" in cfg.data and not Path(cfg.data.root).is_dir():
        cfg.data.root = str(root)
    if cfg.trainer.precision == AUTO:
        cfg.trainer.precision = fastest_precision([device])[0]
    return cfg


def build_module(cfg: DictConfig) -> SRResNet | SRGAN:
    """Build the module of a configuration, with the same weights at every call."""
    lightning.seed_everything(cfg.seed, verbose=False)
    return build_model(cfg)  # type: ignore[return-value]


def load_batch(data: SuperResolutionData) -> dict[str, Tensor]:
    """Load one training batch on the CPU."""
    data.num_workers = 0
    batch: dict[str, Tensor] = next(iter(data.train_dataloader()))
    return batch


class _Work(Callback):
    """A callback that calls a function at the start of training, and then stops the Trainer."""

    def __init__(self, function: Callable[[lightning.Trainer], None]) -> None:
        self.function = function

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.function(trainer)
        trainer.should_stop = True


def with_bare_step(
    cfg: DictConfig, module: SRResNet | SRGAN, data: SuperResolutionData, work: Callable[[Callable[[], None]], Any]
) -> Any:
    """Call `work` with the module's training step on one batch, from uint8 HR on the CPU to the last optimiser step.

    Strategy, precision and optimisers are those of training, but there is no loop, callback, logger or loader.

    Args:
        cfg: the configuration; its `trainer` is used.
        module: the module of the configuration.
        data: the data of the configuration.
        work: called once with the step.

    Returns:
        The result of `work`.
    """
    batch, answer = load_batch(data), []

    def run(trainer: lightning.Trainer) -> None:
        strategy = trainer.strategy
        device, optimizer = strategy.root_device, trainer.optimizers[0]

        def forward() -> Any:
            moved = data.transfer_batch_to_device(batch, device, 0)
            return strategy.training_step(data.on_after_batch_transfer(moved, 0), 0)

        def closure() -> Any:
            optimizer.zero_grad()
            return strategy.backward(forward(), optimizer)

        def step() -> None:
            if module.automatic_optimization:
                strategy.optimizer_step(optimizer, closure)
            else:
                forward()

        answer.append(work(step))

    trainer = instantiate(
        cfg.trainer, barebones=True, callbacks=[_Work(run)], logger=False, log_every_n_steps=0, sync_batchnorm=False
    )
    trainer.fit(module, data)
    return answer[0]
