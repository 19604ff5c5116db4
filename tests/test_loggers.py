"""The loggers besides CSV: what they hold after a run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import wandb
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from srgan_lightning.train import train
from tests.conftest import TINY_FACES, TINY_SRGAN

QUICK = [*TINY_SRGAN, *TINY_FACES, "trainer.max_steps=4", "trainer.val_check_interval=2"]
Configure = Callable[..., DictConfig]


def test_wandb_without_key_or_terminal_is_an_offline_run(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # nobody has logged in there
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")  # to be restored after the test ...
    monkeypatch.delenv("WANDB_MODE")  # ... and not set in it
    wandb.teardown()  # it reads the environment once a process
    train(configure(*QUICK, "logger=wandb"))
    assert wandb.run is None  # finished: the next job of a sweep starts its own
    assert "kept offline" in capsys.readouterr().out
    (path,) = (tmp_path / "run/wandb").glob("offline-run-*/*.wandb")
    wandb.teardown()  # its service writes in the background
    recorded = path.read_bytes()
    for key in ("loss/generator", "loss/discriminator", "lr/generator", "val/psnr_y", "val/bicubic_psnr_y", "samples"):
        assert key.encode() in recorded
    assert (tmp_path / "run/metrics.csv").is_file()


def test_wandb_disabled_is_honoured(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb.teardown()
    train(configure(*QUICK, "logger=wandb"))
    assert not list(tmp_path.rglob("*.wandb"))


def test_tensorboard_holds_scalars_and_pictures(configure: Configure, tmp_path: Path) -> None:
    train(configure(*QUICK, "logger=tensorboard"))
    events = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    assert [event.step for event in events.Scalars("val/psnr_y")] == [2, 4]
    assert [event.step for event in events.Scalars("loss/generator")] == [1, 2, 3, 4]
    assert [event.step for event in events.Images("samples")] == [2, 4]
