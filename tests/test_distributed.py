"""Two CPU processes stand in for several GPUs."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import TINY, TINY_FACES, TINY_SRGAN

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).resolve().parents[1]


def result(run: Run, folder: Path, *overrides: str) -> dict[str, Any]:
    done = run("train", f"hydra.run.dir={folder}", *overrides, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    return dict(json.loads((folder / "summary.json").read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["srgan", "srresnet"])
def test_two_processes_take_the_steps_of_one(run_module: Run, tmp_path: Path, stage: str) -> None:
    """The same global batch gives equal gradients: with plain SGD at rate 1 the weights move by just these."""
    sgd = "{_target_: torch.optim.SGD, _partial_: true, lr: 0.1}"
    overrides = [
        *(TINY_SRGAN if stage == "srgan" else ["experiment=srresnet_celeba", "data=synthetic", *TINY]),
        *TINY_FACES,
        "~model.generator_optimizer",
        f"+model.generator_optimizer={sgd}",
        "model.generator.global_skip=none",
        "trainer.max_steps=2",
        "+callbacks.freeze={_target_: tests.batchnorm.FreezeBatchNorm}",
        "degradation=blur",
        "degradation.kernel=5",
    ]
    if stage == "srgan":
        overrides += ["~model.discriminator_optimizer", f"+model.discriminator_optimizer={sgd}"]
    one = result(run_module, tmp_path / "one", *overrides, "data.batch_size=4")
    two = result(run_module, tmp_path / "two", *overrides, "data.batch_size=2", "trainer.devices=2")
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["steps"] == two["steps"] == 2
    a, b = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "two")
    )
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, atol=2e-6, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    # Three validation images on two processes: the fourth, a repeat, does not count.
    for name in ("psnr_y", "ssim_y", "bicubic_psnr_y"):
        assert two[name] == pytest.approx(one[name], abs=1e-4)


@pytest.mark.slow
def test_devices_alone_is_enough(run_module: Run, tmp_path: Path) -> None:
    """`trainer.devices=2` with no further flag: DDP that bears two optimisers, one run directory, one set of files."""
    done = run_module("train", *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=2", "trainer.devices=2")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "outputs/quickstart").iterdir()
    assert json.loads((run / "summary.json").read_text())["processes"] == 2
    assert {path.name for path in run.iterdir()} >= {
        "generator.safetensors",
        "metrics.csv",
        "samples",
        "checkpoints",
        ".hydra",
    }
    assert len(list((run / "samples").iterdir())) == 1
