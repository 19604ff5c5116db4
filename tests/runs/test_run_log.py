"""The terminal output of a run is in its train.log."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from srgan_lightning.runs.reading import Run
from srgan_lightning.train import train
from tests.conftest import TINY_FACES, TINY_SRGAN

pytestmark = pytest.mark.slow

Configure = Callable[..., DictConfig]
QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.val_check_interval=2"]


def lines_of(cfg: DictConfig) -> list[str]:
    """Return the log without its times."""
    return re.sub(r"(?m)^\[[-0-9 :,]+\] ", "", (Path(cfg.run_dir) / "train.log").read_text()).splitlines()


def test_the_log_of_a_run_holds_what_the_terminal_shows(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    first = configure(*QUICK, "trainer.max_steps=2", "model.generator_optimizer.lr=1e-1000")
    train(first)
    shown = [line for line in capsys.readouterr().out.splitlines() if line]
    assert [line for line in shown if line not in lines_of(first)] == []
    log = "\n".join(lines_of(first))
    assert "2 images per update" in log
    assert "the generator's learning rate is 0" in log
    assert "psnr_y" in log
    assert f"Run directory: {first.run_dir}" in log

    with (Path(first.run_dir) / "train.log").open("a") as file:
        file.write("[2026-01-01 00:00:00,000][x][ERROR] - The run failed. The disk is full.\n")
    assert Run(Path(first.run_dir)).failure == "The disk is full."
    train(configure(*QUICK, "trainer.max_steps=4", "ckpt_path=last"))
    assert Run(Path(first.run_dir)).failure == ""  # the resumed start replaces it
    log = "\n".join(lines_of(first))
    assert log.count("images per update") == 2  # of both starts
    assert "Resuming from" in log  # although the directory was locked later
    train(configure(*QUICK, "trainer.max_steps=2", run="other"))
    assert "\n".join(lines_of(first)) == log  # each run has its own


def test_the_lines_of_validations_are_kept(configure: Configure) -> None:
    progress = "+callbacks.bar={_target_: srgan_lightning.training.callbacks.RunProgress}"
    cfg = configure(*QUICK, progress, "trainer.max_steps=2")
    train(cfg)
    assert any(line.startswith("update 2: PSNR-Y ") for line in lines_of(cfg))
