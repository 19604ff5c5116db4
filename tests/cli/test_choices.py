"""A chosen option of a group replaces the experiment's choice as a whole."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from srgan_lightning import train as command
from srgan_lightning.cli.config import config_dir, with_new_names, with_whole_values
from srgan_lightning.train import train
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY, TINY_FACES

Configure = Callable[..., DictConfig]
PUBLISHED = json.loads((Path(__file__).parent / "published_experiments.json").read_text())
EXPERIMENTS = sorted(PUBLISHED)


def differences(published: Any, now: Any, key: str) -> list[str]:
    """Return published values that have changed; options added later do not count."""
    if isinstance(published, dict) and isinstance(now, dict):
        return [found for name in published for found in differences(published[name], now.get(name), f"{key}.{name}")]
    return [] if published == now else [f"{key}: {now}, was {published}"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_published_experiments_keep_their_numbers(configure: Configure, experiment: str) -> None:
    now = OmegaConf.to_container(configure(f"experiment={experiment}"), resolve=True)
    assert differences(PUBLISHED[experiment], now, experiment) == []


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_no_experiment_alters_a_group_that_is_chosen(configure: Configure, experiment: str) -> None:
    for group, options in (
        ("loss", ["pixel", "srgan_vgg54"]),
        ("data", ["folder", "synthetic"]),
        ("model", ["srgan", "srresnet"]),
    ):
        for option in options:
            chosen = OmegaConf.to_container(configure(f"experiment={experiment}", f"{group}={option}")[group])
            assert chosen == OmegaConf.to_container(configure(f"{group}={option}")[group]), (group, option)


def test_a_loss_group_alone_is_that_loss(configure: Configure) -> None:
    cfg = configure("loss=pixel")
    assert {name for name, weight in instantiate(cfg.loss).weights.items() if weight} == {"pixel"}


def test_a_data_group_alone_trains_the_default_networks(configure: Configure) -> None:
    cfg = configure("data=folder", "data.train_dir=a", "data.val_dir=b")
    assert (cfg.model.generator.channels, cfg.model.generator.blocks, cfg.data.crop) == (64, 16, 96)
    assert cfg.model.discriminator.channels == 64


@pytest.mark.slow
def test_a_model_and_its_loss_train(configure: Configure) -> None:
    cfg = configure("model=srresnet", "loss=pixel", *TINY, *TINY_FACES, "trainer.max_steps=1")
    assert train(cfg)["steps"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("word", ["experiment=null", "~experiment"])
def test_no_experiment(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    GlobalHydra.instance().clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", word, *TINY, *TINY_FACES, "trainer.max_steps=1", "loss=pixel"])
    command.main()
    said = capsys.readouterr().out
    assert said.startswith("Training custom: model=srgan loss=pixel data=synthetic degradation=bicubic trainer.max_st")
    assert len(list((tmp_path / "outputs/custom").glob("*/generator.safetensors"))) == 1


def test_a_bare_command_trains_the_quickstart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = []
    monkeypatch.setattr("srgan_lightning.training.run.train", lambda cfg: trained.append(cfg) or {})
    GlobalHydra.instance().clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train"])
    command.main()
    assert trained[0].name == "quickstart"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("No options were given, so this is experiment=quickstart. Set experiment=")
    assert lines[1].startswith("Training quickstart: model=quickstart loss=quickstart data=quickstart")
    make = subprocess.run(["make", "-n", "quickstart"], cwd=config_dir().parent, capture_output=True, text=True)
    assert "srgan_lightning.train experiment=quickstart" in make.stdout


@pytest.mark.slow
def test_a_seed_below_zero_is_refused(configure: Configure) -> None:
    with pytest.raises(UserError, match="seed=-1: give a whole number from 0"):
        train(configure("seed=-1"))


@pytest.mark.slow
def test_options_are_still_found_by_their_old_names(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["-m", "experiment=seed,quickstart", "loss=seed", "seed=seed", "model=srgan"]
    now = with_new_names(given)
    assert now == ["-m", "experiment=celeba_blur,quickstart", "loss=all_terms", "seed=seed", "model=srgan"]
    note = capsys.readouterr().err
    assert "experiment=seed is now called experiment=celeba_blur." in note
    assert "loss=seed is now called loss=all_terms." in note
    command = [sys.executable, "-m", "srgan_lightning.train", "experiment=seed", "--cfg", "job"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.count("is now called")) == (0, 1)
    assert "name: celeba_blur" in done.stdout


def test_layers_replace_those_of_the_group(configure: Configure) -> None:
    for loss in ("vgg_layers", "srgan_vgg54"):
        words = with_whole_values([f"loss={loss}", "loss.vgg.layers={relu2_2: 1.0}"])
        assert configure(*words).loss.vgg.layers == {"relu2_2": 1.0}
    added = configure(
        *with_whole_values(["loss=vgg_layers", "+loss.vgg.layers.relu2_2=1.0", "loss.vgg.layers.conv1_2=0"])
    )
    assert added.loss.vgg.layers == {"conv1_2": 0, "conv2_2": 0.1, "conv3_4": 1.0, "relu2_2": 1.0}
    swept = ["-m", "loss.vgg.layers={conv1_2: 1},{conv2_2: 1}"]
    assert with_whole_values(swept) == ["-m", "loss.vgg.layers=null", swept[1]]
