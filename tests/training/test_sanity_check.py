"""`trainer.num_sanity_val_steps` tries validation before training, without an effect on training."""

import time
from pathlib import Path

import pytest
import torch

from srgan_lightning.train import train
from tests.conftest import TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.stops import configuration, differences

#: A run's defaults, with the progress bar.
CALLBACKS = "+callbacks.progress_bar={_target_: srgan_lightning.training.callbacks.RunProgress}"
STEPS = ["trainer.max_steps=3", "trainer.val_check_interval=2", CALLBACKS]
STAGES = {
    "srgan": ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "model.accumulate_grad_batches=2", *STEPS],
    "srresnet": [
        "experiment=srresnet_celeba",
        "data=synthetic",
        *TINY,
        *TINY_FACES,
        "trainer.accumulate_grad_batches=2",
        *STEPS,
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_sanity_check_leaves_no_trace(tmp_path: Path, stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It changes no weights, averages, histories, files or terminal output. Only its errors are visible."""
    plain, checked = tmp_path / "plain/0", tmp_path / "checked/0"
    train(configuration(plain, STAGES[stage]))
    told = capsys.readouterr().out
    started = time.perf_counter()
    train(configuration(checked, STAGES[stage], trainer={"num_sanity_val_steps": 2}))
    elapsed = time.perf_counter() - started
    assert differences(plain, checked) == []
    assert capsys.readouterr().out.count("PSNR-Y") == told.count("PSNR-Y") > 0
    state = torch.load(checked / "checkpoints/last.ckpt", weights_only=True)["callbacks"]["Throughput"]
    assert 0 < state["seconds"] < elapsed
