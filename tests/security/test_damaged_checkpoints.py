"""Checkpoints that load but cannot be resumed give one paragraph, before training."""

import json
import logging
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

from srgan_lightning.artifacts.artifact import save_artifact
from srgan_lightning.artifacts.load import load_trained
from srgan_lightning.cli.errors import user_error
from srgan_lightning.imaging.picture import Picture
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.runs.resume import find_checkpoint
from srgan_lightning.train import train
from srgan_lightning.utils.errors import MAX_LENGTH, UserError
from tests.helpers.generators import tiny_artifact, tiny_generator
from tests.helpers.stops import SHORT, configuration, hold


def optimizer(c: Any) -> Any:
    return c["optimizer_states"][0]


def first(c: Any, name: str) -> str:
    return str(next(key for key in c["callbacks"] if name in key))


DAMAGE: dict[str, Callable[[Any], Any]] = {
    **{
        f"no_{key}": lambda c, key=key: c.pop(key)
        for key in ("optimizer_states", "lr_schedulers", "loops", "callbacks")
    },  # type: ignore[misc]
    "no_version": lambda c: c.pop("pytorch-lightning_version"),
    "odd_version": lambda c: c.update({"pytorch-lightning_version": "new"}),
    "no_recipe": lambda c: c["generator"].pop("recipe"),
    "updates_of_text": lambda c: c["generator"]["recipe"].update(updates="2"),
    "arguments_in_a_list": lambda c: c["generator"].update(arguments=[1]),
    "states_in_a_dict": lambda c: c.update(optimizer_states={"0": optimizer(c)}),
    "one_optimizer": lambda c: c["optimizer_states"].pop(),
    "no_moments": lambda c: optimizer(c).pop("state"),
    "no_groups": lambda c: optimizer(c).update(param_groups=[]),
    "rate_of_text": lambda c: optimizer(c)["param_groups"][0].update(lr="fast"),
    "small_moments": lambda c: optimizer(c)["state"][0].update(exp_avg=torch.zeros(3)),
    "nan_moments": lambda c: optimizer(c)["state"][0]["exp_avg"].fill_(torch.nan),
    "nan_weights": lambda c: c["state_dict"]["generator.tail.bias"].fill_(torch.nan),
    "nan_discriminator": lambda c: next(
        t for name, t in c["state_dict"].items() if "discriminator" in name and t.is_floating_point()
    ).fill_(torch.nan),
    "nan_average": lambda c: c["generator_ema"]["tail.bias"].fill_(torch.inf),
    "no_average_of_the_tail": lambda c: c["generator_ema"].pop("tail.bias"),
    "weights_of_numbers": lambda c: c["state_dict"].update({"generator.tail.bias": 1}),
    "negative_variance": lambda c: next(t for name, t in c["state_dict"].items() if name.endswith("running_var")).fill_(
        -1
    ),
    "loops_in_a_list": lambda c: c["loops"].update(fit_loop=[]),
    "loop_counts_of_text": lambda c: c["loops"]["fit_loop"]["epoch_progress"]["total"].update(ready="x"),
    "callback_in_a_list": lambda c: c["callbacks"].update({first(c, "GeneratorEMA"): [1]}),
    "callback_counts_of_text": lambda c: c["callbacks"][first(c, "NonFinite")].update(in_a_row="x"),
    "callback_without_keys": lambda c: c["callbacks"].update({first(c, "Throughput"): {"images": 1}}),
    "best_scores_of_text": lambda c: c["callbacks"][first(c, "val/psnr_y")].update(best_k_models={"best.ckpt": "high"}),
    "random_state_of_text": lambda c: c.update(random={"python": "x"}),
    "gradients_of_others": lambda c: c.update(gradients={"nobody": torch.ones(2)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_checkpoints_are_one_paragraph(copied: Path, kind: str) -> None:
    last = copied / "checkpoints/last.ckpt"
    content = torch.load(last, weights_only=True)
    DAMAGE[kind](content)
    torch.save(content, last)
    with pytest.raises(UserError) as refused:
        train(configuration(copied, SHORT, ckpt_path=str(last), trainer={"max_steps": 3}))
    assert "\n" not in str(refused.value)
    assert "last.ckpt" in str(refused.value) or "ckpt_path" in str(refused.value)


@pytest.mark.slow
def test_last_skips_a_checkpoint_of_nan(copied: Path) -> None:
    last = copied / "checkpoints/last.ckpt"
    content = torch.load(last, weights_only=True)
    content["state_dict"]["generator.tail.bias"].fill_(torch.nan)
    torch.save(content, last)
    assert find_checkpoint("last", RunDirectory(copied)) == str(copied / "checkpoints/best.ckpt")


@pytest.mark.slow
@pytest.mark.parametrize("record", ["[]", "null", '{"resumed": 3}', '{"resumed": [1]}', '{"time', "[" * 100_000])
def test_a_damaged_record_does_not_stop_a_resume(copied: Path, record: str) -> None:
    (copied / "provenance.json").write_text(record)
    assert train(configuration(copied, SHORT, ckpt_path="last"))["steps"] == 2
    assert json.loads((copied / "provenance.json").read_text())["resumed"] == []


def test_negative_variances_are_refused(tmp_path: Path) -> None:
    generator = tiny_generator()
    generator.trunk[0].body[1].running_var.fill_(-1)  # type: ignore[index,union-attr,operator]
    save_artifact(tmp_path / "w.safetensors", generator, {})
    with pytest.raises(UserError, match=r"variances in .*running_var are below 0"):
        load_trained(tmp_path / "w.safetensors")


def test_pictures_of_nan_are_refused() -> None:
    import numpy as np

    generator = tiny_generator()
    with torch.no_grad():
        generator.tail.weight.fill_(3e38)
    with pytest.raises(UserError, match="gives NaN or infinity for this picture"):
        TiledUpscaler(generator).upscale(Picture(np.full((20, 20, 3), 200, np.uint8)))


def test_names_of_half_a_million_tensors_are_cut_short(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tiny_artifact(tmp_path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({f"name_of_no_tensor_{n}": torch.zeros(1) for n in range(5_000)}, path, metadata)
    with pytest.raises(UserError) as refused:
        load_trained(path)
    assert len(str(refused.value)) <= MAX_LENGTH


@pytest.mark.slow
def test_a_directory_that_cannot_be_written_to_is_one_paragraph(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as refused:
        train(configuration(tmp_path / "file/run", SHORT))
    told = user_error(refused.value)
    assert told is not None
    assert "Not a directory" in told
    assert user_error(PermissionError(13, "Permission denied", "runs/0")) is not None


def test_the_loser_of_two_runs_leaves_the_log_of_the_winner(tmp_path: Path) -> None:
    copied = tmp_path / "run"
    process = multiprocessing.get_context("forkserver").Process(target=hold, args=(copied,))
    process.start()
    while not (copied / "held").exists():
        process.join(0.05)
    handler = logging.FileHandler(copied / "train.log")
    logging.getLogger().addHandler(handler)
    try:
        with pytest.raises(UserError, match="Another run is still writing"), RunDirectory(copied).lock():
            pass
        assert handler not in logging.getLogger().handlers
    finally:
        logging.getLogger().removeHandler(handler)
        process.kill()
        process.join()


@pytest.mark.slow
def test_16_mixed_resumes_with_another_value_of_fused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's own `fused` is used: the checkpoint's value made a fused optimiser fail."""
    init = lightning.Trainer.__init__

    def with_scaler(self: Any, *args: Any, plugins: Any, precision: Any, **kwargs: Any) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
        init(self, *args, plugins=[*plugins, MixedPrecision("16-mixed", "cpu", scaler)], **kwargs)

    monkeypatch.setattr(lightning.Trainer, "__init__", with_scaler)
    names = ("generator", "discriminator")
    without, with_it = ([f"++model.{name}_optimizer.fused={fused}" for name in names] for fused in ("false", "true"))
    train(configuration(copied.with_name("1"), [*SHORT, *without]))
    again = configuration(copied.with_name("1"), [*SHORT, *with_it], ckpt_path="last", trainer={"max_steps": 3})
    assert train(again)["steps"] == 3
