"""Stage two saves its discriminator beside its generator, and another run starts from it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from srgan_lightning.artifacts.artifact import save_artifact
from srgan_lightning.artifacts.init_from import load_generator_weights
from srgan_lightning.artifacts.load import load_trained
from srgan_lightning.networks import Discriminator, Generator, UNetDiscriminator
from srgan_lightning.train import train
from srgan_lightning.training.discriminator_file import load_discriminator_weights, write_discriminator
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.spy import Spy

Configure = Callable[..., DictConfig]
QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=2", "trainer.val_check_interval=2"]
UNET = [word for word in QUICK if ".discriminator." not in word]
UNET += ["model/discriminator=unet", "model.discriminator.channels=4"]


class Own(nn.Module):
    """A user's discriminator, without metadata."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 3)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layer(image)
        return logits


def small() -> Discriminator:
    return Discriminator(channels=4, grid=2, hidden=8)


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of stage two. Tests must not change it."""
    from tests.helpers.stops import configuration

    run = tmp_path_factory.mktemp("finished") / "0"
    train(configuration(run, [*QUICK, "callbacks.best=null"]))
    return run


@pytest.fixture
def checkpoint(finished: Path) -> dict[str, Any]:
    return dict(torch.load(finished / "checkpoints/last.ckpt", weights_only=True))


@pytest.mark.slow
@pytest.mark.parametrize("options", [QUICK, UNET], ids=["paper", "unet"])
def test_both_networks_are_saved_and_start_another_training(configure: Configure, options: list[str]) -> None:
    spy = Spy()
    cfg = configure(*options, run="one")
    train(cfg, [spy])
    run = Path(cfg.run_dir)
    trained = {name: tensor.cpu() for name, tensor in spy.module.discriminator.state_dict().items()}
    assert same(load_file(run / "discriminator.safetensors"), trained)  # the last weights, not an average
    with safe_open(run / "discriminator.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["architecture"] == type(spy.module.discriminator).__name__
    assert type(spy.module.discriminator)(**json.loads(metadata["arguments"])).state_dict().keys() == trained.keys()
    assert json.loads(metadata["recipe"])["updates"] == 2
    for file_name in ("discriminator.safetensors", "checkpoints/last.ckpt"):
        cfg = configure(*options, f"model.discriminator_init_from={run / file_name}", run="two")
        module = instantiate(cfg.model, loss=instantiate(cfg.loss))
        assert same(module.discriminator.state_dict(), trained)
    again = Spy()
    train(cfg, [again])
    for name, parameter in again.module.discriminator.named_parameters():
        assert torch.equal(again.start[f"discriminator.{name}"], trained[name]), name
        assert not torch.equal(parameter, trained[name]), name


@pytest.mark.slow
def test_the_discriminator_is_that_of_the_saved_generator(configure: Configure) -> None:
    """With a `best.ckpt`, the discriminator comes from it, like the generator."""
    cfg = configure(*QUICK, "trainer.max_steps=4", "model.generator_optimizer.lr=0.5")  # worse with every update
    assert train(cfg)["checkpoint_steps"] == 2
    best = torch.load(Path(cfg.run_dir) / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    expected = {n.removeprefix("discriminator."): t for n, t in best.items() if n.startswith("discriminator.")}
    assert same(load_file(Path(cfg.run_dir) / "discriminator.safetensors"), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["model=srresnet", "loss=l1", "data=synthetic", *TINY, *TINY_FACES], [*QUICK, "loss.adversarial=0"]]
)
def test_none_is_written_where_none_was_trained(configure: Configure, options: list[str]) -> None:
    cfg = configure(*options, "trainer.max_steps=2", "trainer.val_check_interval=2")
    train(cfg)
    assert (Path(cfg.run_dir) / "generator.safetensors").is_file()
    assert not (Path(cfg.run_dir) / "discriminator.safetensors").exists()


@pytest.mark.slow
def test_a_kill_while_it_is_written_leaves_what_was_there(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "discriminator.safetensors"
    path.write_bytes(b"before")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            write_discriminator(path, finished / "checkpoints/last.ckpt")
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("wrapped", [True, False])
def test_published_discriminators_load_by_their_names(tmp_path: Path, wrapped: bool) -> None:
    """Real-ESRGAN's files hold the state dict under `params`."""
    theirs = UNetDiscriminator(2)
    weights = {name: torch.randn_like(tensor) for name, tensor in theirs.state_dict().items()}
    torch.save({"params": weights} if wrapped else weights, tmp_path / "netD.pth")
    load_discriminator_weights(theirs, str(tmp_path / "netD.pth"))
    assert same(dict(theirs.state_dict()), weights)


@pytest.mark.slow
def test_a_users_discriminator_is_saved_and_loaded(configure: Configure) -> None:
    own = "model.discriminator._target_=tests.training.test_discriminator_file.Own"
    options = [*UNET, own, "~model.discriminator.channels"]
    cfg = configure(*options, run="one")
    train(cfg)
    path = Path(cfg.run_dir) / "discriminator.safetensors"
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["architecture"] == "tests.training.test_discriminator_file.Own"
    own = Own()
    load_discriminator_weights(own, str(path))
    assert same(dict(own.state_dict()), load_file(path))
    with pytest.raises(
        UserError, match=r"architecture: tests\.training\.test_discriminator_file\.Own\. This run has Disc"
    ):
        load_discriminator_weights(small(), str(path))


@pytest.mark.slow
def test_other_architectures_are_named(finished: Path, tmp_path: Path) -> None:
    for name in ("discriminator.safetensors", "checkpoints/last.ckpt"):
        path = str(finished / name)
        with pytest.raises(UserError, match=r"it has model\.discriminator\.channels=4, this run has channels=8"):
            load_discriminator_weights(Discriminator(channels=8, grid=2, hidden=8), path)
        with pytest.raises(UserError, match=r"another architecture: Discriminator\. This run has UNetDiscriminator"):
            load_discriminator_weights(UNetDiscriminator(4), path)
    torch.save(small().state_dict(), tmp_path / "plain.pth")
    with pytest.raises(UserError, match=r"conv0\.bias is absent in the file and \[4\] in this run"):
        load_discriminator_weights(UNetDiscriminator(4), str(tmp_path / "plain.pth"))


@pytest.mark.slow
def test_the_two_networks_of_a_run_are_not_mistaken_for_each_other(finished: Path) -> None:
    with pytest.raises(UserError, match=r"generator\.safetensors holds a generator: give the discriminator\.safe"):
        load_discriminator_weights(small(), str(finished / "generator.safetensors"))
    path = str(finished / "discriminator.safetensors")
    for load in (load_trained, lambda name: load_generator_weights(Generator(8, 1), name)):
        with pytest.raises(UserError, match=r"holds a discriminator: give the generator\.safetensors"):
            load(path)


@pytest.mark.slow
def test_a_checkpoint_of_release_0_1_0_has_no_description_of_its_discriminator(
    checkpoint: dict[str, Any], tmp_path: Path
) -> None:
    del checkpoint["discriminator"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    write_discriminator(tmp_path / "old.safetensors", tmp_path / "old.ckpt")
    for name in ("old.ckpt", "old.safetensors"):
        loaded = small()
        load_discriminator_weights(loaded, str(tmp_path / name))
        assert same(dict(loaded.state_dict()), load_file(tmp_path / "old.safetensors"))
    with pytest.raises(UserError, match=r"features\.0\.bias is \[4\] in the file and \[8\] in this run"):
        load_discriminator_weights(Discriminator(channels=8, grid=2, hidden=8), str(tmp_path / "old.ckpt"))


def weights_of(value: Any) -> dict[str, Any]:
    return {**small().state_dict(), "features.0.bias": value}


@pytest.mark.parametrize(
    ("suffix", "content", "words"),
    [
        (".ckpt", None, "no such file"),
        (".safetensors", None, "no such file"),
        (".safetensors", b"junk", "not a complete safetensors file"),
        (".ckpt", b"junk", "cannot be read as a checkpoint"),
        (".pth", b"junk", "cannot be read as tensors"),
        (".pth", [1], "does not hold tensors by name"),
        (".pth", {"params": 3}, "does not hold tensors by name"),
        (".pth", weights_of("text"), "is absent in the file"),
        (".pth", weights_of(torch.full((4,), torch.nan)), "not all finite"),
        (".pth", {**weights_of(torch.zeros(4)), 3: torch.zeros(1)}, r"3 is \[1\] in the file and absent in this run"),
        (".ckpt", {"state_dict": {}}, "not a checkpoint of srgan-lightning"),
        (".ckpt", {"state_dict": {"generator.x": torch.zeros(1)}, "generator": {}}, "without a discriminator"),
        (".ckpt", {"state_dict": {"discriminator.x": 1}, "generator": {}, "discriminator": 7}, "is absent in the file"),
        (".ckpt", {"state_dict": {"discriminator.x": 1}, "generator": {}, "discriminator": {"architecture": []}},
         "another architecture"),
    ],
)  # fmt: skip
def test_missing_and_hostile_files_are_one_paragraph(tmp_path: Path, suffix: str, content: Any, words: str) -> None:
    path = tmp_path / f"odd{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=words) as refused:
        load_discriminator_weights(small(), str(path))
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("suffix", [".ckpt", ".pth"])
def test_no_code_of_a_file_is_run(tmp_path: Path, suffix: str) -> None:
    class Exploit:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "exploited").touch, ())

    torch.save({"state_dict": {}, "generator": Exploit()}, tmp_path / f"evil{suffix}")
    with pytest.raises(UserError, match="evil"):
        load_discriminator_weights(small(), str(tmp_path / f"evil{suffix}"))
    assert not (tmp_path / "exploited").exists()


@pytest.mark.parametrize("arguments", ["no JSON", "[" * 10_000, "3"])
def test_with_odd_metadata_only_the_shapes_are_compared(tmp_path: Path, arguments: str) -> None:
    metadata = {"format": "srgan-lightning/1", "network": "discriminator", "arguments": arguments}
    network = small()
    save_file(network.state_dict(), tmp_path / "odd.safetensors", metadata)
    loaded = small()
    load_discriminator_weights(loaded, str(tmp_path / "odd.safetensors"))
    assert same(dict(loaded.state_dict()), dict(network.state_dict()))


def test_an_artifact_without_a_network_name_is_a_generator(tmp_path: Path) -> None:
    save_artifact(tmp_path / "old.safetensors", Generator(8, 1), {})
    with pytest.raises(UserError, match="holds a generator"):
        load_discriminator_weights(small(), str(tmp_path / "old.safetensors"))


@pytest.mark.slow
def test_a_resumed_run_saves_its_newer_discriminator(finished: Path, tmp_path: Path) -> None:
    """A resumed run writes it again."""
    run = Path(shutil.copytree(finished, tmp_path / "0"))
    from tests.helpers.stops import configuration

    train(configuration(run, [*QUICK, "callbacks.best=null"], ckpt_path="last", trainer={"max_steps": 3}))
    one, two = (load_file(folder / "discriminator.safetensors") for folder in (finished, run))
    assert not same(one, two)
