"""Exports in half precision, and exports that are checked on photos."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from srgan_lightning.artifacts.export import export, write_half
from srgan_lightning.artifacts.export_check import MAX_PHOTOS, PhotoDifference, read_photos
from srgan_lightning.artifacts.load import Trained, load_generator, load_trained
from srgan_lightning.export import in_levels, main
from srgan_lightning.utils.errors import UserError
from tests.helpers.foreign import swinir
from tests.helpers.generators import tiny_artifact, tiny_generator
from tests.helpers.own_rrdb import OwnRRDB
from tests.helpers.pictures import header_bomb, smooth


def export_cli(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.slow
def test_half_precision_is_only_inside_the_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx, onnxruntime = (pytest.importorskip(name) for name in ("onnx", "onnxruntime"))
    artifact = tiny_artifact(tmp_path, blocks=1, global_skip="bicubic")
    for precision in ("32", "fp16"):
        words = ("--weights", artifact, "--format", "onnx", "--precision", precision)
        assert export_cli(*words, "-o", tmp_path / f"{precision}.onnx") == 0
    whole, half = (onnx.load(tmp_path / f"{precision}.onnx") for precision in ("32", "fp16"))
    onnx.checker.check_model(half, full_check=True)
    kinds = {tensor.data_type for tensor in half.graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}
    ends = [end.type.tensor_type.elem_type for end in (*half.graph.input, *half.graph.output)]
    assert ends == [onnx.TensorProto.FLOAT] * 2
    weights = [sum(len(tensor.raw_data) for tensor in model.graph.initializer) for model in (whole, half)]
    assert weights[1] < 0.55 * weights[0]

    facts = {entry.key: entry.value for entry in half.metadata_props}
    assert facts["precision"] == "float16 inside, float32 at both ends"
    stated = json.loads(facts["difference"])
    assert list(stated) == ["1x3x17x31", "2x3x32x48", "3x3x5x7"]
    assert 1e-5 < max(stated.values()) < 1 / 255
    assert f"LR 31x17, batch of 1: {stated['1x3x17x31']:.1e} from torch" in capsys.readouterr().out

    session, generator = onnxruntime.InferenceSession(tmp_path / "fp16.onnx"), load_generator(artifact)
    lr = torch.rand(2, 3, 9, 21)
    with torch.no_grad():
        difference = np.abs(session.run(None, {"lr": lr.numpy()})[0] - generator(lr).numpy())
    assert 0 < difference.max() < 1 / 255


@pytest.mark.slow
def test_what_overflows_in_half_precision_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    generator = tiny_generator(blocks=0)
    with torch.no_grad():
        generator.head[0].weight *= 1e6  # type: ignore[operator]
        generator.tail.weight /= 1e6
    trained = Trained(generator, "x", {"architecture": "Generator"})
    with pytest.raises(UserError, match=r"was not written.* for noise of 31x17 pixels.*leave --precision out"):
        export(trained, "onnx", tmp_path / "x.onnx", "fp16")
    assert not list(tmp_path.iterdir())


def test_half_size_files_keep_tables_of_integers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny_generator()
    generator.register_buffer("table", torch.full((2, 2), 2049))  # above the integers that float16 has
    monkeypatch.setattr("srgan_lightning.artifacts.export.load_generator", lambda _: None)
    write_half(Trained(generator, "x", {"architecture": "Generator"}), tmp_path / "x.safetensors")
    written = load_file(tmp_path / "x.safetensors")
    assert written["table"].tolist() == [[2049, 2049]] * 2
    assert written["tail.weight"].dtype == torch.float16


def test_half_precision_is_refused_for_other_formats_and_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = tiny_artifact(tmp_path)
    words = ("--weights", artifact, "-o", tmp_path / "m.safetensors", "--precision", "fp16")
    assert export_cli(*words, "--format", "safetensors") == 1
    assert "works only with --format onnx" in capsys.readouterr().err
    for precision, said in (("bf16", "no convolutions in bf16 on a CPU"), ("8", "neither 32 nor fp16")):
        with pytest.raises(SystemExit, match="2"):
            export_cli("--weights", artifact, "--format", "onnx", "-o", tmp_path / "m.onnx", "--precision", precision)
        assert said in capsys.readouterr().err
    pytest.importorskip("spandrel")
    torch.save(swinir().state_dict(), tmp_path / "swin.pth")
    trained = load_trained(tmp_path / "swin.pth")
    with pytest.raises(UserError, match="does not work in float16"):
        export(trained, "onnx", tmp_path / "m.onnx", "fp16")
    assert not (tmp_path / "m.safetensors").exists()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos/deeper").mkdir(parents=True)
    smooth(size=(150, 140)).save(tmp_path / "photos/large.png")
    smooth("L", (9, 5)).save(tmp_path / "photos/deeper/grey.jpg")
    (tmp_path / "photos/deeper/round").symlink_to(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.mark.slow
def test_photos_are_compared_in_levels(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    import onnxruntime

    artifact, target = tiny_artifact(tmp_path, blocks=0, global_skip="bicubic"), tmp_path / "m.onnx"
    words = ("--weights", artifact, "--format", "onnx", "--precision", "fp16", "-o", target)
    assert export_cli(*words, "--check", photos) == 0
    *_, small, large, total, done = capsys.readouterr().out.splitlines()
    assert done == f"Done: {target}"
    pixels = np.asarray(Image.open(photos / "large.png"))[6:134, 11:139].transpose(2, 0, 1)[None] / np.float32(255)
    (file,) = onnxruntime.InferenceSession(target).run(None, {"lr": pixels})
    with torch.no_grad():
        own = load_generator(artifact)(torch.from_numpy(pixels)).numpy()
    levels = 255 * np.abs(file.clip(0, 1) - own.clip(0, 1))
    assert 0 < levels.max() < 1.5
    found = re.fullmatch(r"(.+): (\S+) levels of 255 from torch at most, (\S+)% of values within 1", large)
    assert found is not None
    assert found[1] == str(photos / "large.png")
    assert float(found[2]) == pytest.approx(levels.max(), rel=0.06)
    assert float(found[3]) == pytest.approx(100 * (levels <= 1).mean(), abs=1e-3)
    assert small.startswith(f"{photos}/deeper/grey.jpg: ")
    assert total.startswith(f"Photos (2): {found[2]} levels")


@pytest.mark.parametrize("form", ["torch_export", "safetensors", "safetensors16"])
def test_every_format_is_run_on_photos(
    tmp_path: Path, photos: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix = ".pt2" if form == "torch_export" else ".safetensors"
    words = ("--weights", tiny_artifact(tmp_path, blocks=0), "--format", form, "-o", tmp_path / f"m{suffix}")
    assert export_cli(*words, "--check", photos) == 0
    assert re.search(r"Photos \(2\): (0|\S+e-\d+|0\.0\d+) levels .*, 100.0000% of values", capsys.readouterr().out)


def test_a_file_that_differs_only_on_photos_is_removed(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = load_trained(tiny_artifact(tmp_path, blocks=0))
    lr = read_photos(str(photos), trained.generator)

    def wrong(lr: torch.Tensor) -> torch.Tensor:
        sr = trained.generator(lr)
        return sr * torch.nan if lr.shape[-1] == 128 else sr

    monkeypatch.setitem(export.__globals__["FORMATS"], "torch_export", (lambda trained, path: wrong, ".pt2"))
    with pytest.raises(UserError, match=r"differs from torch's by nan levels of 255 for .*large\.png"):
        export(trained, "torch_export", tmp_path / "m.pt2", photos=lr)
    assert not (tmp_path / "m.pt2").exists()


def test_a_graph_that_fails_at_other_sizes_gets_one_paragraph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a graph results where tracing makes a size a constant. The runtime raises plain `Exception`s."""

    def fails(lr: torch.Tensor) -> torch.Tensor:
        raise Exception("Got: 17 Expected: 16\nPlease fix")

    monkeypatch.setitem(export.__globals__["FORMATS"], "torch_export", (lambda trained, path: fails, ".pt2"))
    trained = Trained(OwnRRDB().eval(), "own", {"architecture": "tests.helpers.own_rrdb.OwnRRDB"})
    with pytest.raises(UserError, match=r"OwnRRDB cannot be exported as torch_export: Got: 17 Expected: 16 Please fix"):
        export(trained, "torch_export", tmp_path / "m.pt2")
    assert not list(tmp_path.iterdir())


def test_totals_weigh_photos_by_their_values() -> None:
    small, large = PhotoDifference("a", 0.25, 10, 10), PhotoDifference("b", 3, 60, 90)
    assert in_levels([small, large]) == "3 levels of 255 from torch at most, 70.0000% of values within 1"


def test_photos_are_sampled_and_fitted_to_the_network(tmp_path: Path) -> None:
    for number in range(2 * MAX_PHOTOS + 1):
        Image.new("RGB", (3, 2), (number, 0, 0)).save(tmp_path / f"{number:02d}.png")
    taken = read_photos(str(tmp_path), tiny_generator())
    assert len(taken) == 14  # every third of 41
    assert [round(255 * float(lr[0, 0, 0, 0])) for lr in taken.values()] == list(range(0, 41, 3))
    pytest.importorskip("spandrel")
    torch.save(swinir().state_dict(), tmp_path / "swin.pth")
    smooth(size=(70, 100)).save(tmp_path / "00.png")
    windows = read_photos(str(tmp_path), load_trained(tmp_path / "swin.pth").generator)
    assert {lr.shape for lr in windows.values()} == {(1, 3, 64, 64)}
    lengthened = 255 * windows[str(tmp_path / "03.png")]
    assert lengthened[:, 0].unique().tolist() == [3]


def test_folders_without_photos_are_refused_before_any_work(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (photos / "bomb.png").write_bytes(header_bomb())
    (photos / "cut.png").write_bytes((photos / "large.png").read_bytes()[:900])
    words = ("--weights", tiny_artifact(tmp_path), "--format", "safetensors", "-o", tmp_path / "m.safetensors")
    for folder, said in {
        "empty": "no image files",
        "loop": "no such folder",
        "none": "no such folder",
        "tiny.safetensors": "no such folder",
        "photos": "bomb.png has more pixels than the maximum",
    }.items():
        assert export_cli(*words, "--check", tmp_path / folder) == 1
        told = capsys.readouterr().err
        assert told.startswith(f"--check={tmp_path / folder}: ")
        assert said in told
        assert told.count("\n") == 1
    assert told.strip().endswith("1 more cannot be read.")
    assert not (tmp_path / "m.safetensors").exists()
