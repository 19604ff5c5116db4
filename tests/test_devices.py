"""What other systems and devices than Linux with CUDA ask for."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from srgan_lightning.cores import usable_cores
from srgan_lightning.data.degradation import Blur
from srgan_lightning.data.folder import FolderData
from srgan_lightning.data.synthetic import SyntheticData
from srgan_lightning.errors import UserError
from srgan_lightning.training.processes import check_devices


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_cores_are_those_that_the_process_may_run_on() -> None:
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_cores_are_counted_where_the_system_has_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS: defaults are found and errors are told all the same."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores() == 6
    assert SyntheticData(4, 2, 64, degradation=Blur(4, 5)).workers == 5
    with pytest.raises(UserError, match="its 6 CPU cores are enough for 12"):
        check_devices(OmegaConf.create({"trainer": {"accelerator": "cpu", "devices": 13}}))
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


def test_no_float64_goes_to_the_device(photos: Callable[..., Path]) -> None:
    """MPS has none."""
    data = FolderData(
        str(photos("train")),
        str(photos("val")),
        degradation=Blur(4, 5),
        batch_size=4,
        crop=32,
        rotate=True,
        random_scale=0.8,
        shuffle_channels=True,
        num_workers=0,
    )
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        batch = next(iter(loader))
        kinds = {name: value.dtype for name, value in batch.items()}
        assert kinds["draw"] == torch.float32
        assert torch.float64 not in kinds.values(), kinds
