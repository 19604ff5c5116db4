"""`weights=`: files that load, and the errors of all others."""

import contextlib
import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

import srgan_lightning
from srgan_lightning.artifacts.artifact import (
    SKIP_MARKER,
    describe,
    read_artifact,
    save_artifact,
)
from srgan_lightning.artifacts.bundled import BUNDLED
from srgan_lightning.artifacts.init_from import load_generator_weights
from srgan_lightning.artifacts.load import load_generator, load_trained
from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.networks import Generator
from srgan_lightning.utils.errors import UserError
from tests.helpers.generators import ABOUT, tiny_artifact, tiny_checkpoint, tiny_generator

ARGUMENTS = {"channels": 4, "blocks": 0, "scale": 2, "global_skip": "none"}


def smallest() -> bytes:
    """Return the bytes of an artifact of a few kilobytes."""
    return save(Generator(**ARGUMENTS).state_dict(), describe("Generator", ARGUMENTS, ABOUT))


@pytest.mark.parametrize("global_skip", ["none", "bicubic"])
def test_an_artifact_comes_back_whole(tmp_path: Path, global_skip: str) -> None:
    generator = tiny_generator(global_skip=global_skip)
    save_artifact(tmp_path / "one.safetensors", generator, ABOUT)
    trained = load_trained(tmp_path / "one.safetensors")
    assert trained.name == "one"
    assert trained.generator.arguments == generator.arguments
    assert ABOUT.items() <= trained.metadata.items()
    assert not trained.generator.training
    lr = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        assert torch.equal(trained.generator(lr), generator(lr))


def test_the_marker_of_the_skip_is_only_in_the_file(tmp_path: Path) -> None:
    path = tiny_artifact(tmp_path, global_skip="bicubic")
    assert read_artifact(path)[0].keys() == tiny_generator().state_dict().keys()
    assert load_file(path).keys() - tiny_generator().state_dict().keys() == {SKIP_MARKER + "bicubic"}
    assert load_file(tiny_artifact(tmp_path)).keys() == tiny_generator().state_dict().keys()


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    generator = tiny_generator(global_skip="bicubic").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loaded = srgan_lightning.load_generator(tiny_checkpoint(tmp_path, generator))
    lr = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        torch.testing.assert_close(loaded(lr), generator(lr), rtol=0, atol=1e-6)
    assert all(tensor.is_contiguous() for tensor in loaded.state_dict().values())


def test_a_checkpoint_gives_its_moving_average(tmp_path: Path) -> None:
    path, average = tiny_checkpoint(tmp_path, tiny_generator()), tiny_generator()
    torch.save(torch.load(path) | {"generator_ema": average.state_dict()}, path)
    assert torch.equal(load_generator(path).tail.weight, average.tail.weight)


def test_half_precision_files_load_as_float32(tmp_path: Path) -> None:
    save_artifact(tmp_path / "half.safetensors", tiny_generator().half(), {})
    assert load_generator(tmp_path / "half.safetensors")(torch.rand(1, 3, 4, 4)).dtype == torch.float32


@pytest.mark.parametrize("name", ["photo.jpg", "notes", "model.onnx", "w.ckpt", "w.PTH"])
def test_an_unknown_file_raises_user_error_with_the_kinds_of_weights(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0 something else")
    with pytest.raises(UserError, match=r"cannot be read as a checkpoint: .* Give a \.safetensors") as error:
        load_trained(tmp_path / name)
    assert "\n" not in str(error.value)


def test_an_unknown_name_raises_user_error_with_the_bundled_names() -> None:
    with pytest.raises(UserError, match=r"weights=faces-x99: no such file .* no bundled model of that name") as error:
        load_trained("faces-x99")
    assert all(path.stem in str(error.value) for path in BUNDLED.glob("*.safetensors"))
    assert "bicubic)" in str(error.value)


@pytest.mark.parametrize(("typed", "meant"), [("srgan-face", "srgan-faces-x4"), ("bicubc", "bicubic")])
def test_a_misspelt_name_gets_a_suggestion(typed: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"Did you mean {meant}\?$"):
        load_trained(typed)


def test_bundled_models_load_by_name() -> None:
    for path in BUNDLED.glob("*.safetensors"):
        trained = load_trained(path.stem)
        assert trained.generator(torch.rand(1, 3, 8, 8)).shape[-1] == 8 * trained.generator.scale


@pytest.mark.parametrize("name", ["w.safetensors", "w.ckpt", "w.pth"])
@pytest.mark.parametrize("content", [b"", bytes(64), b"no model", b"PK\3\4" + bytes(60), b"\xff" * 999], ids=range(5))
def test_garbage_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        load_trained(tmp_path / name)


@pytest.mark.parametrize("make", [tiny_artifact, lambda folder: tiny_checkpoint(folder, tiny_generator())])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, make: Callable[[Path], Path], share: float) -> None:
    path = make(tmp_path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=path.name):
        load_trained(path)


class Touch:
    """Make a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["w.ckpt", "w.pth", "w.safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_does_not_run(tmp_path: Path, name: str, zipped: bool) -> None:
    touched = tmp_path / "touched"
    buffer = io.BytesIO()
    payload = {"state_dict": Touch(touched), "generator": {}}
    torch.save(payload, buffer) if zipped else pickle.dump(payload, buffer, protocol=2)
    (tmp_path / name).write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match=name):
        load_trained(tmp_path / name)
    assert not touched.exists()
    if not zipped:  # the payload does run where code may run
        pickle.loads(buffer.getvalue())
        assert touched.exists()


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"format": "other/1"}, "not written by srgan-lightning"),
        ({"architecture": "SwinIR"}, "architecture SwinIR"),
        ({"arguments": "{}"}, "its metadata describe: 'blocks'"),
        ({"arguments": "nonsense"}, "its metadata describe"),
        ({"arguments": "[" * 100_000}, "its metadata describe"),
        ({"arguments": json.dumps(ARGUMENTS | {"scale": 3})}, "scale=3 is not possible"),
        ({"arguments": json.dumps(ARGUMENTS | {"scale": 2.0})}, "its metadata describe"),
        ({"arguments": json.dumps(ARGUMENTS | {"channels": 5})}, "size mismatch"),
        ({"arguments": json.dumps(ARGUMENTS | {"channels": 2048})}, "size mismatch"),  # not allocated
        ({"arguments": json.dumps(ARGUMENTS | {"channels": 10**6})}, "1 to 2048 channels"),
        ({"arguments": json.dumps(ARGUMENTS | {"channels": 10**30})}, "its metadata describe"),
        ({"arguments": json.dumps(ARGUMENTS | {"blocks": 10**12})}, "blocks=1000000000000"),
        ({"arguments": json.dumps(ARGUMENTS | {"blocks": 1})}, "Missing key"),
        ({"arguments": json.dumps(ARGUMENTS | {"hidden": 1})}, "hidden"),
    ],
)
def test_false_metadata_are_refused(tmp_path: Path, metadata: dict[str, str], said: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(save(Generator(**ARGUMENTS).state_dict(), describe("Generator", ARGUMENTS, {}) | metadata))
    with pytest.raises(UserError, match=said):
        load_trained(path)


def test_missing_and_foreign_tensors_are_named(tmp_path: Path) -> None:
    weights, path = Generator(**ARGUMENTS).state_dict(), tmp_path / "w.safetensors"
    save_file(
        {name: t for name, t in weights.items() if name != "tail.bias"}, path, describe("Generator", ARGUMENTS, {})
    )
    with pytest.raises(UserError, match=r"tail\.bias"):
        load_trained(path)
    save_file(weights | {"extra": torch.ones(1)}, path, describe("Generator", ARGUMENTS, {}))
    with pytest.raises(UserError, match="extra"):
        load_trained(path)


@pytest.mark.parametrize(
    "checkpoint",
    [
        [],
        {},
        {"state_dict": {}, "generator": []},
        {"state_dict": [], "generator": {}},
        {"state_dict": {3: 4}, "generator": {"architecture": "Generator", "arguments": ARGUMENTS}},
        {"state_dict": {}, "generator": {"architecture": "Generator"}},
        {"state_dict": {}, "generator": {"architecture": "Generator", "arguments": [1]}},
        {"state_dict": {"generator.tail.bias": 1}, "generator": {"architecture": "Generator", "arguments": ARGUMENTS}},
        {"state_dict": {}, "generator": {"architecture": "Generator", "arguments": ARGUMENTS}, "generator_ema": 7},
        Generator(**ARGUMENTS).state_dict(),
    ],
)
def test_other_checkpoints_are_refused(tmp_path: Path, checkpoint: Any) -> None:
    torch.save(checkpoint, tmp_path / "w.ckpt")
    with pytest.raises(UserError, match=r"w\.ckpt"):
        load_trained(tmp_path / "w.ckpt")


quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def loads_or_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        load_trained(path).generator(torch.rand(1, 3, 3, 3))


@quick
@given(content=st.binary(max_size=300))
def test_random_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    loads_or_is_refused(tmp_path / "w.safetensors", content)


@quick
@given(header=st.binary(max_size=200))
def test_random_headers_are_refused(tmp_path: Path, header: bytes) -> None:
    loads_or_is_refused(tmp_path / "w.safetensors", len(header).to_bytes(8, "little") + header + bytes(99))


@quick
@given(share=st.floats(0, 1), bits=st.lists(st.tuples(st.floats(0, 0.3), st.integers(0, 7)), max_size=4))
def test_cut_and_flipped_bits_load_or_are_refused(tmp_path: Path, share: float, bits: list[tuple[float, int]]) -> None:
    """Flip bytes of the header only: a flipped weight is a valid number."""
    content = bytearray(smallest())
    for place, bit in bits:
        content[int(place * (len(content) - 1))] ^= 1 << bit
    loads_or_is_refused(
        tmp_path / "w.safetensors", bytes(content[: int(share * len(content))] if share < 0.5 else content)
    )


def test_bicubic_is_a_generator_like_the_others() -> None:
    lr = torch.rand(1, 3, 7, 9)
    torch.testing.assert_close(load_generator("bicubic")(lr), resize_bicubic(lr, (28, 36)))


@pytest.mark.parametrize("arguments", [None, "no JSON", "[" * 10_000, "3"])
def test_init_from_refuses_artifacts_without_a_description(tmp_path: Path, arguments: str | None) -> None:
    metadata = {"format": "srgan-lightning/1"} | ({} if arguments is None else {"arguments": arguments})
    save_file(tiny_generator().state_dict(), tmp_path / "odd.safetensors", metadata)
    with pytest.raises(UserError, match="does not describe its generator"):
        load_generator_weights(tiny_generator(), str(tmp_path / "odd.safetensors"))
