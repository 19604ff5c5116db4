"""Fine-tuning starts from both networks of stage two, and stops when a score no longer improves."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from omegaconf import OmegaConf
from safetensors.torch import load_file

from srgan_lightning.cli.errors import user_error
from srgan_lightning.train import train
from srgan_lightning.training.callbacks import EarlyStop
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY_FACES, TINY_UNET
from tests.helpers.spy import Spy
from tests.helpers.stops import configuration, differences, stopped

QUICK = ["experiment=quickstart", "model/discriminator=unet", *TINY_UNET, *TINY_FACES]
QUICK += ["trainer.max_steps=2", "trainer.val_check_interval=2"]
FINETUNE = ["experiment=finetune", "data=synthetic", *TINY_UNET, *TINY_FACES, "degradation=bicubic"]
FINETUNE += ["trainer.max_steps=20", "trainer.val_check_interval=2", "callbacks.early_stop.patience=2"]
FINETUNE += ["loss.vgg.weights=random", "loss.vgg.layers={conv1_2: 1, relu2_2: 0, conv3_4: 0}"]
PLANTED = [
    "+callbacks.planted={_target_: tests.training.test_finetune.Planted, scores: {0: 5, 2: 4, 4: 4.5, 6: 4, 8: 1}}",
    "callbacks.best.monitor=val/planted",
]


class Planted(Callback):
    """Log known scores by update."""

    def __init__(self, scores: dict[int, float]) -> None:
        self.scores = scores

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("val/planted", self.scores.get(trainer.global_step, 9.0))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return options that start from both networks of a run of stage two."""
    run = tmp_path_factory.mktemp("one") / "0"
    train(configuration(run, QUICK))
    files = {"init_from": "generator", "discriminator_init_from": "discriminator"}
    return [f"model.{option}={run}/{name}.safetensors" for option, name in files.items()]


@pytest.mark.slow
def test_both_networks_start_from_their_files(networks: list[str], tmp_path: Path) -> None:
    spy = Spy()
    summary = train(configuration(tmp_path / "0", [*FINETUNE, *networks, "trainer.max_steps=2"]), [spy])
    assert (summary["steps"], summary["checkpoint_steps"]) == (2, 2)
    for option in networks:
        file = Path(option.partition("=")[2])
        for name, tensor in load_file(file).items():
            if (key := f"{file.stem}.{name}") in spy.start:
                assert torch.equal(spy.start[key], tensor), key
                assert not torch.equal(spy.module.get_parameter(key), tensor), key
    assert len(spy.start) == len([*spy.module.parameters()]) + len([*spy.module.loss.perceptual.parameters()])
    assert {"start_psnr_y", "start_swd"} <= summary.keys()


@pytest.mark.slow
@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_option_is_reported_before_training(networks: list[str], tmp_path: Path, missing: int) -> None:
    option = networks[missing].partition("=")[0]
    with pytest.raises(InstantiationException) as refused:
        train(configuration(tmp_path / "0", [*FINETUNE, networks[1 - missing]]))
    assert re.match(rf"{option}=RUN/\w+\.safetensors: no such file", str(user_error(refused.value)))
    assert not (tmp_path / "0").exists()


def test_finetune_has_low_rates_and_a_rising_adversarial_term() -> None:
    cfg = configuration(Path("none"), ["experiment=finetune"])
    before = configuration(Path("none"), ["experiment=faces_srgan"])
    assert OmegaConf.to_container(cfg.model.generator) == OmegaConf.to_container(before.model.generator)
    assert OmegaConf.to_container(cfg.model.discriminator) == OmegaConf.to_container(before.model.discriminator)
    for network in ("generator", "discriminator"):
        rates = [float(c.model[f"{network}_optimizer"].lr) for c in (cfg, before)]
        assert rates[0] == pytest.approx(rates[1] / 10)
    assert cfg.loss.adversarial_ramp == 200
    assert (cfg.callbacks.best.monitor, cfg.callbacks.best.mode) == ("val/swd", "min")
    stop = instantiate(cfg.callbacks.early_stop)
    assert (stop.monitor, stop.mode, stop.patience) == ("val/swd", "min", 5)


@pytest.mark.slow
def test_finetune_stops_when_the_score_no_longer_falls(
    networks: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two validations after update 2 are no better, so the weights of update 2 are delivered."""
    run = tmp_path / "0"
    summary = train(configuration(run, [*FINETUNE, *networks, *PLANTED]))
    assert (summary["steps"], summary["checkpoint_steps"], summary["interrupted"]) == (6, 2, False)
    told = "Stopping at update 6: val/planted has not improved on 4 in the last 2 validations"
    assert capsys.readouterr().out.count(told) == 1
    assert told in (run / "train.log").read_text()
    patient = [*FINETUNE, *networks, *PLANTED, "callbacks.early_stop.patience=3"]
    summary = train(configuration(run, patient, ckpt_path="last", trainer={"max_steps": 8}))
    assert (summary["steps"], summary["checkpoint_steps"]) == (8, 8)


@pytest.mark.slow
def test_the_initial_weights_count_as_a_score(networks: list[str], tmp_path: Path) -> None:
    planted = {"planted": {"scores": {0: 1.0, 2: 4.0, 4: 4.5, 6: 4.0, 8: 1.0}}}
    summary = train(configuration(tmp_path / "0", [*FINETUNE, *networks, *PLANTED], callbacks=planted))
    assert summary["steps"] == 4


def early_stop(run: Path) -> dict[str, Any]:
    callbacks = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    (state,) = (state for name, state in callbacks.items() if name.startswith("EarlyStop"))
    return dict(state)


@pytest.mark.slow
def test_a_run_stopped_again_and_again_ends_where_the_uninterrupted_one_does(
    networks: list[str], tmp_path: Path
) -> None:
    overrides = [*FINETUNE, *networks, *PLANTED, "model.accumulate_grad_batches=2"]
    whole, parts = tmp_path / "whole/0", tmp_path / "parts/0"
    overrides[overrides.index("trainer.val_check_interval=2")] = "trainer.val_check_interval=4"  # batches
    assert train(configuration(whole, overrides))["steps"] == 6
    for batch, validation in ((3, False), (4, True), (9, False), (11, False)):
        stopped(parts, overrides, batch, validation)
    summary = train(configuration(parts, overrides, ckpt_path="last"))
    assert (summary["steps"], summary["interrupted"]) == (6, False)
    assert differences(whole, parts) == []
    assert early_stop(whole) == early_stop(parts)
    assert (early_stop(parts)["wait_count"], float(early_stop(parts)["best_score"])) == (2, 4.0)


@pytest.mark.slow
def test_an_unknown_score_is_reported(networks: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"early_stop\.monitor=val/lpipz is not logged: use one of val/"):
        train(configuration(tmp_path / "0", [*FINETUNE, *networks, "callbacks.early_stop.monitor=val/lpipz"]))
    with pytest.raises(UserError, match=r"early_stop\.patience=0"):
        EarlyStop("val/swd", "min", 0)


@pytest.mark.parametrize("score", ["nan", "inf"])
def test_a_score_that_is_not_finite_is_named(score: str, capsys: pytest.CaptureFixture[str]) -> None:
    stop = EarlyStop("val/swd", "min", 3)
    trainer: Any = SimpleNamespace(
        state=SimpleNamespace(fn=TrainerFn.FITTING), sanity_checking=False, fast_dev_run=False, should_stop=False,
        global_step=40, current_epoch=1, is_global_zero=True, callback_metrics={"val/swd": torch.tensor(4.0)},
        strategy=SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision),
    )  # fmt: skip
    stop.on_validation_end(trainer, cast(Any, None))
    assert not trainer.should_stop
    trainer.callback_metrics["val/swd"] = torch.tensor(float(score))
    stop.on_validation_end(trainer, cast(Any, None))
    assert trainer.should_stop
    assert f"Stopping at update 40: val/swd is {score}, and the best so far is 4." in (said := capsys.readouterr().out)
    assert "has not improved" not in said


@pytest.mark.slow
def test_other_experiments_train_to_their_end(tmp_path: Path) -> None:
    summary = train(configuration(tmp_path / "0", QUICK))
    assert json.loads((tmp_path / "0/summary.json").read_text())["steps"] == summary["steps"] == 2
    assert not any("early_stop" in name for name in configuration(tmp_path / "0", QUICK).callbacks)
