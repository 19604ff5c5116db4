"""Camera photos of 12 megapixels and more among the validation images."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from lightning import Callback
from PIL import Image

from srgan_lightning.metrics import swd
from srgan_lightning.metrics.swd import SlicedWassersteinDistance
from srgan_lightning.train import train
from srgan_lightning.training.preflight import check_batches_fit
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY
from tests.helpers.stops import differences

Configure = Callable[..., Any]
Photos = Callable[..., Path]

SRRESNET = ["experiment=srresnet_celeba", "data=folder", "data.crop=32", *TINY]


@pytest.mark.slow
def test_a_photo_of_12_megapixels_is_validated_in_3_gigabytes(photos: Photos, tmp_path: Path) -> None:
    """Validate with all callbacks: scores, swd and sample grid. This once took 19 GB."""
    folders = f"data.train_dir={photos('train')}", f"data.val_dir={photos('val', 1, (3000, 4000), '.jpg')}"
    (tmp_path / "measured.py").write_text(
        "import resource, runpy\n"
        "try:\n"
        "    runpy.run_module('srgan_lightning.train', run_name='__main__', alter_sys=True)\n"
        "finally:\n"
        "    print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "measured.py", *SRRESNET, *folders, "trainer.max_steps=1", f"run_dir={tmp_path / 'run'}"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/generator.safetensors").exists()
    peak = int(done.stdout.rsplit("peak ", 1)[1]) * 1024
    assert peak < 3e9, f"{peak / 1e9:.2f} GB"


def test_the_largest_photo_is_what_must_fit(
    configure: Configure, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos("val", 2)
    Image.fromarray(np.zeros((200, 100, 3), np.uint8)).save(photos("val", 0) / "photo9.png")
    cfg = configure(*SRRESNET, f"data.train_dir={photos('train')}", f"data.val_dir={photos('val', 0)}")
    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    model = instantiate(cfg.model, loss=instantiate(cfg.loss))
    data.setup("fit")
    monkeypatch.setattr("srgan_lightning.training.preflight.memory_of", lambda device: 3 * 3 * 4 * 200 * 100)
    check_batches_fit(data, model, on_cpu=True)
    monkeypatch.setattr("srgan_lightning.training.preflight.memory_of", lambda device: 3 * 3 * 4 * 200 * 100 - 1)
    with pytest.raises(
        UserError, match=r"val_batch_size=1: 1 images of 100x200 .* or crop the largest validation images"
    ):
        check_batches_fit(data, model, on_cpu=True)


class DiesInValidation(Callback):
    """Kill the run during the first validation, like a kernel that is out of memory."""

    def on_validation_batch_start(self, *_: Any, **__: Any) -> None:
        raise MemoryError


@pytest.mark.slow
@pytest.mark.parametrize("updates", [3, 2])
def test_a_first_validation_that_dies_leaves_a_checkpoint(configure: Configure, photos: Photos, updates: int) -> None:
    """The resumed run validates first, even with nothing left to train, and equals an uninterrupted run."""
    folders = [f"data.{split}_dir={photos(split)}" for split in ("train", "val")]
    steps = [f"trainer.max_steps={updates}", "trainer.val_check_interval=2"]
    whole, died = (configure(*SRRESNET, *folders, *steps, run=f"{name}/0") for name in ("whole", "died"))
    train(whole)
    broken = configure(
        *SRRESNET, *folders, *steps, f"+callbacks.dies._target_={__name__}.DiesInValidation", run="died/0"
    )
    with pytest.raises(MemoryError):
        train(broken)
    assert torch.load(Path(died.run_dir) / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 2
    died.ckpt_path = str(Path(died.run_dir) / "checkpoints/last.ckpt")
    assert train(died)["psnr_y"] > 0
    assert differences(Path(whole.run_dir), Path(died.run_dir)) == []


def test_swd_of_a_photo_is_computed_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    sr, hr = torch.rand(2, 1, 3, 80, 64)
    whole = SlicedWassersteinDistance(4)
    whole.update(sr, hr)
    for band in (1, 3, 7):
        monkeypatch.setattr(swd, "BAND", band)
        banded = SlicedWassersteinDistance(4)
        banded.update(sr, hr)
        assert torch.equal(banded.hr.sum(-1), whole.hr.sum(-1))
        assert (banded.sr - whole.sr).abs().sum() <= 4  # rounding may move a value to the next bin
