"""Hostile weights, checkpoints and artifacts: their code never runs, and their values are checked."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from safetensors.torch import save
from torch import Tensor

from srgan_lightning.artifacts.artifact import describe
from srgan_lightning.artifacts.init_from import load_generator_weights
from srgan_lightning.artifacts.load import load_trained
from srgan_lightning.losses import VGGFeatures
from srgan_lightning.networks import Generator
from srgan_lightning.utils.errors import UserError
from tests.helpers.generators import tiny_checkpoint, tiny_generator

ARGUMENTS = {"channels": 4, "blocks": 0, "scale": 2, "global_skip": "none"}


class Touch:
    """Make a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_vgg_weights_run_no_code(tmp_path: Path) -> None:
    torch.save({"features.0.weight": Touch(tmp_path / "touched")}, tmp_path / "vgg.pth")
    with pytest.raises(UserError, match=r"vgg\.pth cannot be read"):
        VGGFeatures("relu1_1", str(tmp_path / "vgg.pth"))
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("content", [{3: 4}, {"features.0.weight": "text"}, {3: torch.ones(1)}, [1]])
def test_files_without_vgg_weights_are_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "vgg.pth")
    with pytest.raises(UserError, match=r"vgg\.pth"):
        VGGFeatures("relu1_1", str(tmp_path / "vgg.pth"))


def test_vgg_weights_must_be_finite(tmp_path: Path) -> None:
    layers = VGGFeatures("relu1_1", "random").layers
    state = {f"features.{name}": tensor for name, tensor in layers.state_dict().items()}
    state["features.0.bias"][3] = torch.nan
    torch.save(state, tmp_path / "vgg.pth")
    with pytest.raises(UserError, match="NaN"):
        VGGFeatures("relu1_1", str(tmp_path / "vgg.pth"))


def test_targets_in_a_checkpoint_are_never_called(tmp_path: Path) -> None:
    """Nothing in a checkpoint reaches Hydra, under any key with a `_target_`."""
    target = {"_target_": "os.mkdir", "path": str(tmp_path / "touched")}
    instantiate(target)  # the payload does run when Hydra instantiates it
    (tmp_path / "touched").rmdir()
    good = tiny_checkpoint(tmp_path, tiny_generator())
    content = torch.load(good, weights_only=True)
    extra = {"hyper_parameters": {"generator": target}, "hparams_name": "kwargs", "cfg": target, "scores": target}
    torch.save(content | extra, good)
    load_trained(good)  # ignored
    hidden = [{"channels": target}, {"global_skip": target}]
    for arguments in (target, ARGUMENTS | target, *(ARGUMENTS | each for each in hidden)):
        generator = {**content["generator"], "arguments": arguments}
        torch.save(content | extra | {"generator": generator}, tmp_path / "w.ckpt")
        with pytest.raises(UserError, match=r"w\.ckpt"):
            load_trained(tmp_path / "w.ckpt")
        with pytest.raises(UserError, match=r"w\.ckpt"):
            load_generator_weights(tiny_generator(), str(tmp_path / "w.ckpt"))
        weights, metadata = Generator(**ARGUMENTS).state_dict(), describe("Generator", arguments, {"cfg": target})
        (tmp_path / "w.safetensors").write_bytes(save(weights, metadata))
        with pytest.raises(UserError, match=r"w\.safetensors"):
            load_trained(tmp_path / "w.safetensors")
    assert not (tmp_path / "touched").exists()


def test_compressed_checkpoints_are_refused(tmp_path: Path, little_memory: None) -> None:
    """torch would unpack some kilobytes to any number of gigabytes."""
    path = tiny_checkpoint(tmp_path, tiny_generator())
    with zipfile.ZipFile(path) as good, zipfile.ZipFile(tmp_path / "b.ckpt", "w", zipfile.ZIP_DEFLATED) as bomb:
        for member in good.infolist():
            bomb.writestr(member.filename, good.read(member))
    with pytest.raises(UserError, match="compressed"):
        load_trained(tmp_path / "b.ckpt")


def test_tensors_that_are_not_in_the_file_are_refused(tmp_path: Path, little_memory: None) -> None:
    """A stride of 0 makes 40 gigabytes of one number. It is refused before anything copies it."""
    path = tiny_checkpoint(tmp_path, tiny_generator())
    content = torch.load(path, weights_only=True)
    content["state_dict"]["generator.tail.bias"] = torch.zeros(1).expand(10**10)
    torch.save(content, path)
    assert path.stat().st_size < 10**6
    with pytest.raises(UserError, match="does not contain them"):
        load_trained(path)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    generator = tiny_generator()
    with torch.no_grad():
        generator.trunk[1].body[0].weight[2, 3, 1, 1] = bad  # type: ignore[index,union-attr]
    path = tiny_checkpoint(tmp_path, generator)
    for load in (lambda: load_trained(path), lambda: load_generator_weights(tiny_generator(), str(path))):
        with pytest.raises(UserError, match=r"trunk\.1\.body\.0\.weight are not all finite"):
            load()


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64, torch.bool, torch.float8_e4m3fn])
def test_weights_of_other_types_load_as_float32_or_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = {name: tensor.to(dtype) for name, tensor in Generator(**ARGUMENTS).state_dict().items()}
    (tmp_path / "w.safetensors").write_bytes(save(weights, describe("Generator", ARGUMENTS, {})))
    try:
        generator = load_trained(tmp_path / "w.safetensors").generator
    except UserError:
        assert dtype != torch.float8_e4m3fn
        return
    assert generator(torch.rand(1, 3, 4, 4)).dtype == torch.float32


def header_of(tensor: dict[str, Any], **metadata: Any) -> bytes:
    header = json.dumps({"__metadata__": metadata, "head.0.weight": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(64)


@pytest.mark.parametrize(
    "content",
    [
        header_of({"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 64]}),
        header_of({"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 10**15]}),
        header_of({"dtype": "F32", "shape": [2**63, 4], "data_offsets": [0, 64]}),
        header_of({"dtype": "F32", "shape": [4, 4], "data_offsets": [64, 0]}),
        header_of({"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}, format=1),
        header_of({"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}, format=["srgan-lightning/1"]),
        (2**63 - 1).to_bytes(8, "little") + b"{}",
        (10**9).to_bytes(8, "little") + b"{" + bytes(99),
    ],
    ids=range(8),
)
def test_false_headers_are_refused(tmp_path: Path, content: bytes, little_memory: None) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="not a complete safetensors file"):
        load_trained(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "lie",
    [{"scale": 10**9}, {"channels": 10**6}, {"channels": True}, {"channels": "4"}, {"blocks": -1}, {"blocks": None}],
)
def test_false_arguments_are_refused(tmp_path: Path, lie: dict[str, Any], little_memory: None) -> None:
    weights = Generator(**ARGUMENTS).state_dict()
    (tmp_path / "w.safetensors").write_bytes(save(weights, describe("Generator", ARGUMENTS | lie, {})))
    with pytest.raises(UserError, match=r"w\.safetensors does not hold the generator"):
        load_trained(tmp_path / "w.safetensors")


def test_cyclic_and_nested_checkpoints_are_refused(tmp_path: Path) -> None:
    cyclic: dict[str, Any] = {"state_dict": {}}
    cyclic["generator"] = cyclic
    laughs: list[Any] = [0]
    for _ in range(60):
        laughs = [laughs, laughs]
    generator = {"architecture": "Generator", "arguments": laughs}
    for content in (cyclic, {"state_dict": {"generator.x": laughs}, "generator": generator}):
        torch.save(content, tmp_path / "w.ckpt")
        with pytest.raises(UserError, match=r"w\.ckpt"):
            load_trained(tmp_path / "w.ckpt")


def test_a_generator_never_sees_a_tensor_subclass(tmp_path: Path) -> None:
    path = tiny_checkpoint(tmp_path, tiny_generator())
    assert all(type(tensor.data) is Tensor for tensor in load_trained(path).generator.parameters())
