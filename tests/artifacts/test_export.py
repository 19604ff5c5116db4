"""Exported files compute what torch computes, also at sizes other than the traced one. They are complete or absent."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from srgan_lightning.artifacts.artifact import read_artifact
from srgan_lightning.artifacts.export import FORMATS, export
from srgan_lightning.artifacts.export_check import Upscaler
from srgan_lightning.artifacts.load import Trained, load_generator, load_trained
from srgan_lightning.export import main
from srgan_lightning.utils.errors import UserError
from tests.helpers.generators import ABOUT, tiny_artifact, tiny_checkpoint, tiny_generator

SIZES = [(1, 1, 1), (1, 5, 7), (2, 17, 31), (3, 64, 64), (1, 3, 40)]


def open_exported(form: str, path: Path) -> Upscaler:
    """Open an exported file as a user of it would."""
    if FORMATS[form][1] == ".safetensors":
        return load_generator(path)
    if form == "torch_export":
        return torch.export.load(path).module()  # type: ignore[return-value]
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda lr: torch.from_numpy(session.run(None, {"lr": lr.numpy()})[0])


def needs(form: str) -> None:
    if form == "onnx":
        for package in ("onnx", "onnxruntime", "onnxscript"):
            pytest.importorskip(package)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("scale", "global_skip"), [(4, "none"), (4, "bicubic"), (2, "bicubic"), (8, "none")])
def test_parity_at_odd_sizes(tmp_path: Path, form: str, scale: int, global_skip: str) -> None:
    needs(form)
    trained = load_trained(tiny_artifact(tmp_path, blocks=1, scale=scale, global_skip=global_skip))
    path = tmp_path / f"new/exported{FORMATS[form][1]}"
    assert max(export(trained, form, path).noise.values()) < 1e-5
    exported = open_exported(form, path)
    for batch, height, width in SIZES:
        lr = torch.rand(batch, 3, height, width)
        with torch.no_grad():
            sr: Tensor = trained.generator(lr)
            assert sr.shape == (batch, 3, scale * height, scale * width)
            assert sr.std() > 0.01
            torch.testing.assert_close(exported(lr), sr, rtol=0, atol=1e-5)
    assert list(path.parent.iterdir()) == [path]  # one file: no weights beside it, no leftovers


@pytest.mark.slow
def test_onnx_metadata_describe_the_model(tmp_path: Path) -> None:
    needs("onnx")
    import onnx

    export(load_trained(tiny_artifact(tmp_path, global_skip="bicubic")), "onnx", tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["arguments"]) == {"channels": 8, "blocks": 2, "scale": 4, "global_skip": "bicubic"}
    assert {key: json.loads(metadata[key]) for key in ABOUT} == ABOUT
    assert "not clamped" in metadata["output"]
    (lr,), (sr,) = model.graph.input, model.graph.output
    assert (lr.name, sr.name) == ("lr", "sr")
    assert [d.dim_param or d.dim_value for d in lr.type.tensor_type.shape.dim] == ["batch", 3, "height", "width"]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_torch_export_carries_metadata(tmp_path: Path) -> None:
    export(load_trained(tiny_artifact(tmp_path)), "torch_export", tmp_path / "m.pt2")
    files = {"metadata.json": ""}
    torch.export.load(tmp_path / "m.pt2", extra_files=files)
    metadata = json.loads(files["metadata.json"])
    assert json.loads(metadata["scores"]) == ABOUT["scores"]
    assert metadata["scale"] == "4"


def test_a_checkpoint_becomes_an_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = tiny_generator()
    checkpoint, path = tiny_checkpoint(tmp_path, generator), tmp_path / "m.safetensors"
    assert main(["--weights", str(checkpoint), "--format", "safetensors", "-o", str(path)]) == 0
    assert f"Done: {path}" in capsys.readouterr().out
    tensors, metadata = read_artifact(path)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in generator.state_dict().items())
    assert json.loads(metadata["recipe"]) == ABOUT["recipe"]


def test_exporting_an_artifact_again_keeps_weights_and_metadata(tmp_path: Path) -> None:
    path = tiny_artifact(tmp_path, global_skip="bicubic")
    export(load_trained(path), "safetensors", tmp_path / "again.safetensors")
    (tensors, metadata), (same, as_before) = read_artifact(path), read_artifact(tmp_path / "again.safetensors")
    assert metadata == as_before
    assert tensors.keys() == same.keys()


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_fails_the_check_is_removed(tmp_path: Path, form: str) -> None:
    needs(form)
    generator = tiny_generator(blocks=0)
    generator.tail.bias.data[0] = torch.nan  # type: ignore[union-attr]
    path = tmp_path / f"m{FORMATS[form][1]}"
    path.write_text("what was there")
    with pytest.raises(UserError, match=r"was not written|not all finite"):
        export(Trained(generator, "nan", {"architecture": "Generator"}), form, path)
    assert path.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"package onnx, .*\[export\]"):
        export(load_trained(tiny_artifact(tmp_path)), "onnx", tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--weights": "absent.ckpt"}, "absent.ckpt: no such file"),
        ({"-o": "artifact.bin"}, "Use a name that ends in .safetensors"),
        ({"-o": "folder.safetensors"}, "cannot be written: Is a directory"),
        ({"-o": "tiny.safetensors/below.safetensors"}, "cannot be written"),
    ],
)
def test_mistakes_are_one_paragraph_and_exit_code_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, str],
    said: str,
) -> None:
    tiny_artifact(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.safetensors").mkdir()
    options = {"--weights": "tiny.safetensors", "--format": "safetensors", "-o": "m.safetensors"} | changed
    assert main([text for option in options.items() for text in option]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.safetensors", "folder.safetensors"}


@pytest.mark.slow
def test_the_module_runs_as_a_command(tmp_path: Path, run_module: Callable[..., Any]) -> None:
    tiny_artifact(tmp_path)
    done = run_module("export", "--weights", "tiny.safetensors", "--format", "torch_export", "-o", "m.pt2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("from torch") == 3
    assert (tmp_path / "m.pt2").is_file()
    assert run_module("export", "--weights", "tiny.safetensors", "--format", "gif", "-o", "m.gif").returncode == 2
