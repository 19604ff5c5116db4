"""Training with a user's generator: `model.generator._target_=...`, as in docs/recipes.md."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file

from srgan_lightning.artifacts import own_class
from srgan_lightning.artifacts.artifact import read_artifact, save_artifact, write_artifact
from srgan_lightning.artifacts.init_from import load_generator_weights
from srgan_lightning.artifacts.load import load_trained
from srgan_lightning.cli.errors import user_error
from srgan_lightning.export import main as export
from srgan_lightning.networks.contract import validate_generator
from srgan_lightning.train import train
from srgan_lightning.training.preflight import check_batches_fit
from srgan_lightning.upscale import main as upscale
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.own_generator import Espcn, Generator

Configure = Callable[..., DictConfig]
OWN = [
    *["model/generator=own", "model.generator._target_=tests.helpers.own_generator.Espcn", "+model.generator.width=4"],
    *["trainer.max_steps=3", "trainer.val_check_interval=2"],
]
SRGAN, SRRESNET = (
    [*start, *(word for word in tiny if not word.startswith("model.generator.")), *TINY_FACES, *OWN]
    for start, tiny in (
        (["experiment=quickstart"], TINY_SRGAN),
        (["experiment=srresnet_celeba", "data=synthetic"], TINY),
    )
)


@pytest.fixture
def trained(configure: Configure) -> Path:
    """Return the directory of a run of the first stage."""
    cfg = configure(*SRRESNET, run="one/0")
    train(cfg)
    return Path(cfg.run_dir)


@pytest.mark.slow
def test_both_stages_train_it_and_resume(trained: Path, configure: Configure) -> None:
    start, metadata = read_artifact(trained / "generator.safetensors")
    assert metadata["architecture"] == "tests.helpers.own_generator.Espcn"
    assert json.loads(metadata["arguments"]) == {"width": 4, "scale": 4}
    second = [*SRGAN, f"model.init_from={trained}/generator.safetensors"]
    summary = train(configure(*second, "test=true", run="two/0"))
    assert summary["steps"] == 3
    assert summary["test_psnr_y"] > 0
    assert train(configure(*second, "trainer.max_steps=4", "ckpt_path=last", run="two/1"))["steps"] == 4
    run = Path(configure(run="two/1").run_dir)
    weights = load_file(run / "generator.safetensors")
    assert weights.keys() == Espcn(4, 4).state_dict().keys() == start.keys()
    assert not torch.equal(weights["body.0.weight"], start["body.0.weight"])
    Espcn(4, 4).load_state_dict(weights)
    assert (Path(configure(run="two/0").run_dir) / "samples/step_0000003.png").is_file()
    with (Path(configure(run="two/0").run_dir) / "metrics.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file) if row["val/psnr_y"]] == ["0", "2", "3"]


@pytest.mark.slow
def test_other_commands_name_the_class_and_the_option(
    trained: Path, photos: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hr, weights = photos("hr", 1), trained / "generator.safetensors"
    words = "holds a network of the class tests.helpers.own_generator.Espcn, which is not part of this package"
    for main, arguments in (
        (upscale, [str(hr), "-o", str(tmp_path / "big"), "--weights", str(weights)]),
        (export, ["--weights", str(weights), "--format", "onnx", "-o", str(tmp_path / "x.onnx")]),
    ):
        assert main(arguments) == 1
        message = capsys.readouterr().err
        assert words in message
        assert "--architecture tests.helpers.own_generator.Espcn; for evaluate, architecture=tests." in message
        assert message.count("\n") == 1
    with pytest.raises(UserError, match=words):
        load_trained(trained / "checkpoints/best.ckpt")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.Net", "--architecture nowhere.Net cannot be imported: .*nowhere"),
        ("tests.helpers.own_generator.pixel_shuffle", "cannot be imported|is not a torch.nn.Module"),
        ("tests.helpers.own_generator.Generator", r"does not hold the .*Generator that .*unexpected keyword.*'rank'"),
    ],
)
def test_a_class_that_does_not_fit_the_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setattr(own_class, "_allowed", {name})
    write_artifact(tmp_path / "own.safetensors", Espcn(4, 4).state_dict(), name, {"rank": 3}, {})
    with pytest.raises(UserError, match=words):
        load_trained(tmp_path / "own.safetensors")


def test_a_file_makes_no_huge_network_of_a_users_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, little_memory: None
) -> None:
    monkeypatch.setattr(own_class, "_allowed", {"tests.helpers.own_generator.Espcn"})
    for arguments, words in (
        ({"width": 10**9, "scale": 4}, "far larger than the tensors in it"),
        ({"width": 8, "scale": 4}, "size mismatch"),
    ):
        kind, path = "tests.helpers.own_generator.Espcn", tmp_path / "own.safetensors"
        write_artifact(path, Espcn(4, 4).state_dict(), kind, arguments, {})
        with pytest.raises(UserError, match=words):
            load_trained(path)


def test_a_class_that_breaks_the_contract_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_class, "_allowed", {"torch.nn.Conv2d"})
    arguments = {"in_channels": 3, "out_channels": 3, "kernel_size": 3}
    path = tmp_path / "own.safetensors"
    write_artifact(path, torch.nn.Conv2d(3, 3, 3).state_dict(), "torch.nn.Conv2d", arguments, {})
    with pytest.raises(UserError, match=r"own\.safetensors: Conv2d has scale=None .* Give it `scale`") as raised:
        load_trained(path)
    assert "\n" not in str(raised.value)


def test_modules_of_the_working_directory_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (tmp_path / "mine_here.py").write_text("from tests.helpers.own_generator import Espcn\nclass Net(Espcn): pass\n")
    own_class.allow_architectures("mine_here.Net")
    write_artifact(
        tmp_path / "own.safetensors", Espcn(4, 4).state_dict(), "mine_here.Net", {"width": 4, "scale": 4}, {}
    )
    assert type(load_trained("own.safetensors").generator).__name__ == "Net"
    assert str(tmp_path) not in sys.path


def test_a_users_class_with_our_name_is_not_mistaken_for_ours(tmp_path: Path) -> None:
    save_artifact(tmp_path / "own.safetensors", Generator(4, 4), {})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"class tests\.helpers\.own_generator\.Generator, which"):
        load_trained(tmp_path / "own.safetensors")


def test_weights_of_another_width_and_diverged_weights_are_refused(tmp_path: Path) -> None:
    path, generator = tmp_path / "own.safetensors", Espcn(4, 4)
    save_artifact(path, generator, {})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"it has model\.generator\.width=4, this run has width=8"):
        load_generator_weights(Espcn(8, 4), str(path))  # type: ignore[arg-type]
    torch.nn.init.constant_(generator.body[0].weight, torch.nan)  # type: ignore[arg-type]
    save_artifact(path, generator, {})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"body\.0\.weight are not all finite"):
        load_generator_weights(Espcn(4, 4), str(path))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("scale", None),
        ("scale", 2.0),
        ("arguments", None),
        ("arguments", {"width": OmegaConf.create([4, 4])}),
        ("arguments", {"width": (4, 4)}),  # a file would return it as a list
        ("arguments", {"activation": torch.nn.Tanh()}),
    ],
)
def test_a_generator_without_scale_or_plain_arguments_is_refused(attribute: str, value: Any) -> None:
    generator = Espcn(4, 4)
    validate_generator(generator)
    setattr(generator, attribute, value)
    with pytest.raises(UserError, match=f"Espcn has .*{attribute}="):
        validate_generator(generator)


def test_batches_that_never_fit_are_refused(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = configure(*SRRESNET, "data.batch_size=4")
    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    model = instantiate(cfg.model, loss=instantiate(cfg.loss))
    data.setup("fit")
    monkeypatch.setattr("srgan_lightning.training.preflight.memory_of", lambda device: 4 * 32 * 32 * 3 * 4 - 1)
    with pytest.raises(
        UserError,
        match=r"data\.batch_size=4: 4 images of 32x32 .* Lower data\.batch_size or data\.crop\.",
    ):
        check_batches_fit(data, model, on_cpu=True)
    data.crop = None
    with pytest.raises(UserError, match=r"Lower data\.batch_size, or set data\.crop\."):
        check_batches_fit(data, model, on_cpu=True)


def test_it_gets_its_own_defaults(configure: Configure) -> None:
    """The experiment's channels and blocks are not used, although the class has arguments of these names."""
    cfg = configure(
        "experiment=quickstart", "model/generator=own", "model.generator._target_=tests.helpers.own_generator.Wide"
    )
    assert instantiate(cfg.model.generator).arguments == {"channels": 12, "blocks": 3, "scale": 4}


def test_unknown_arguments_raise_user_error_with_advice(configure: Configure) -> None:
    cfg = configure("experiment=quickstart", "model.generator._target_=tests.helpers.own_generator.Espcn")
    with pytest.raises(InstantiationException) as raised:
        instantiate(cfg.model, loss=instantiate(cfg.loss))
    said = user_error(raised.value, cfg)
    assert said is not None
    assert "~model.generator.channels ~model.generator.blocks ~model.generator.global_skip" in said
    assert "or use model/generator=own" in said
