"""Gradients and BatchNorm statistics of two CPU processes: sent once, and equal when saved and scored."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from srgan_lightning.cli.config import config_dir
from tests.conftest import TINY_FACES, TINY_SRGAN

SGD = "{_target_: torch.optim.SGD, _partial_: true, lr: 0.1}"
OVERRIDES = [
    *TINY_SRGAN,
    *TINY_FACES,
    "model.accumulate_grad_batches=2",
    "~model.generator_optimizer",
    f"+model.generator_optimizer={SGD}",
    "~model.discriminator_optimizer",
    f"+model.discriminator_optimizer={SGD}",
    "model.generator.global_skip=bicubic",  # small gradients: rounding is small beside the tolerance
    "loss.adversarial=1e-2",
    "data.val_batch_size=1",
    "trainer.max_steps=3",
    "callbacks.sample_grid=null",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """Train two processes with the package's strategy and with Lightning's; return run directories and outputs."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    path = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *sys.path])
    for name, strategy in (("ours", "auto"), ("lightning", "ddp_find_unused_parameters_true")):
        command = [sys.executable, "-m", "srgan_lightning.train", *OVERRIDES, f"hydra.run.dir={folder / name}"]
        command += ["trainer.devices=2", f"trainer.strategy={strategy}"]
        command += ["+callbacks.count={_target_: tests.helpers.traffic.CountGradientBytes}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        found[name] = (folder / name, done.stdout)
    return found


def last(run: Path) -> dict[str, Any]:
    return dict(torch.load(run / "checkpoints/last.ckpt", weights_only=True))


@pytest.mark.slow
def test_the_weights_are_those_of_lightnings_strategy(runs: dict[str, tuple[Path, str]]) -> None:
    ours, lightnings = (last(runs[name][0])["state_dict"] for name in ("ours", "lightning"))
    for name, value in lightnings.items():
        if not name.endswith(("running_mean", "running_var")):  # which Lightning's takes from the first process
            torch.testing.assert_close(ours[name], value, atol=1e-6, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.slow
def test_each_network_is_sent_once_per_update(runs: dict[str, tuple[Path, str]]) -> None:
    weights = {name: p for name, p in last(runs["ours"][0])["state_dict"].items() if "running" not in name}
    size = sum(4 * value.numel() for name, value in weights.items() if "num_batches" not in name)
    for name, times in (("ours", 1), ("lightning", 4)):  # Lightning's: both networks, in two passes of two batches
        (sent,) = {int(number) for number in re.findall(r"gradients: (\d+) bytes", runs[name][1])}
        assert sent == 3 * times * size, name


@pytest.mark.slow
def test_the_saved_generator_is_the_one_that_was_scored(runs: dict[str, tuple[Path, str]]) -> None:
    run = runs["ours"][0]
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        cfg = compose("train", ["run_dir=null", *OVERRIDES, f"model.init_from={run / 'generator.safetensors'}"])
    module = instantiate(cfg.model, loss=instantiate(cfg.loss))
    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.validate(module, data, verbose=False)
    summary = json.loads((run / "summary.json").read_text())
    for name in ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"):
        assert float(trainer.callback_metrics[f"val/{name}"]) == pytest.approx(summary[name], abs=1e-6), name
