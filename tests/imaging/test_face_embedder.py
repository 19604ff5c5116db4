"""Identity: the cosine of an ONNX network's embeddings, and files that contain more than a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from srgan_lightning.imaging.face_embedder import FaceEmbedder
from srgan_lightning.imaging.ops import resize_bicubic, round_to_8_bits
from srgan_lightning.metrics.perceptual import PerceptualMetrics
from srgan_lightning.metrics.pictures import Pictures
from srgan_lightning.utils.errors import UserError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

WEIGHT = np.random.default_rng(0).normal(size=(3 * 8 * 6, 5)).astype(np.float32)
Save = Callable[..., str]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write an embedder: the matrix product of an 8x6 image, after the given operators."""

    def write(*front: Any, name: str = "e.onnx", shape: Any = (1, 3, 8, 6), change: Any = None) -> str:
        helper, kinds = onnx.helper, onnx.TensorProto
        last = front[-1].output[0] if front else "x"
        nodes = [*front, helper.make_node("Flatten", [last], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
        constants = [onnx.numpy_helper.from_array(WEIGHT, "w")]
        constants += [
            onnx.numpy_helper.from_array(np.float32(value), key) for key, value in (("m", 127.5), ("s", 1 / 128))
        ]
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", kinds.FLOAT, shape)],
            [helper.make_tensor_value_info("y", kinds.FLOAT, ["n", 5])],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)])
        model.ir_version = 8
        if change is not None:
            change(model)
        (tmp_path / name).write_bytes(model.SerializeToString())
        return str(tmp_path / name)

    return write


def node(kind: str, *inputs: str, domain: str = "") -> Any:
    return onnx.helper.make_node(kind, list(inputs), [f"{kind}_out"], domain=domain)


def by_hand(faces: torch.Tensor, mean: float, std: float) -> torch.Tensor:
    """Compute the embedding of (1, 3, H, W): crop the middle square, resize it, and multiply it by the matrix."""
    height, width = faces.shape[-2:]
    top, left = (height - min(height, width)) // 2, (width - min(height, width)) // 2
    square = round_to_8_bits(faces)[..., top : top + min(height, width), left : left + min(height, width)]
    levels = 255 * resize_bicubic(square, (8, 6)).clamp(0, 1)
    return torch.from_numpy(((levels - mean) / std).numpy().reshape(1, -1) @ WEIGHT)


def test_the_score_is_the_mean_cosine(save: Save) -> None:
    names, faces = ["identity"], torch.rand(4, 1, 3, 24, 20)
    metrics = PerceptualMetrics(names, None, torch.device("cpu"), {}, identity={"model": save()})
    cosines = []
    for sr, hr in (faces[:2], faces[2:]):
        metrics.update(Pictures("x", hr[..., ::4, ::4], sr, hr))
        a, b = (by_hand(image, 127.5, 127.5)[0].double() for image in (sr, hr))
        cosines.append(float(a @ b / (a.norm() * b.norm())))
    score = metrics.compute(2)["identity"]
    assert score == pytest.approx(sum(cosines) / 2, abs=1e-5)
    metrics.update(Pictures("x", faces[0], faces[0], faces[0]))
    assert metrics.compute(1)["identity"] == pytest.approx(1, abs=1e-6)


def test_normalisation_is_the_networks_own_where_it_has_one(save: Save) -> None:
    face = torch.rand(1, 3, 24, 24)
    plain = FaceEmbedder(save())(face)
    torch.testing.assert_close(plain, by_hand(face, 127.5, 127.5), atol=1e-4, rtol=1e-4)
    sface = FaceEmbedder(save(node("Sub", "x", "m"), node("Mul", "Sub_out", "s")))(face)
    torch.testing.assert_close(sface, by_hand(face, 127.5, 128), atol=1e-3, rtol=1e-4)
    given = FaceEmbedder(save(), mean=10, std=20)(face)
    torch.testing.assert_close(given, by_hand(face, 10, 20), atol=1e-3, rtol=1e-4)
    turned = FaceEmbedder(save(), bgr=True)(face)
    torch.testing.assert_close(turned, by_hand(face.flip(1), 127.5, 127.5), atol=1e-4, rtol=1e-4)
    middle = FaceEmbedder(save(), crop=0.5)(face)
    torch.testing.assert_close(middle, by_hand(face[..., 6:18, 6:18], 127.5, 127.5), atol=1e-4, rtol=1e-4)


def external(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_in_a_branch(model: Any) -> None:
    tensor = onnx.helper.make_tensor("c", onnx.TensorProto.FLOAT, [1], [0.0])
    external_tensor = onnx.TensorProto()
    external_tensor.CopyFrom(tensor)
    external_tensor.data_location = onnx.TensorProto.EXTERNAL
    inner = onnx.helper.make_node("Constant", [], ["c"], value=external_tensor)
    branch = onnx.helper.make_graph([inner], "b", [], [onnx.helper.make_tensor_value_info("c", 1, [1])])
    model.graph.node.append(onnx.helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"change": external}, "keeps weights in other files"),
        ({"change": external_in_a_branch}, "keeps weights in other files"),
        ({"front": [("Steal", "own")]}, r"custom operators \(own.Steal\)"),
        ({"front": [("Gelu", "com.microsoft")]}, r"custom operators \(com.microsoft.Gelu\)"),
        ({"front": [("Absolutely", "")]}, "is not a valid ONNX model"),
        ({"shape": (1, 4, 9, 4)}, "an embedder with one float input"),
        ({"shape": (1, 3, 48)}, "an embedder with one float input"),
    ],
)
def test_hostile_and_other_models_are_refused(save: Save, options: dict[str, Any], words: str) -> None:
    front = [node(kind, "x", domain=domain) for kind, domain in options.pop("front", [])]
    with pytest.raises(UserError, match=words) as refused:
        FaceEmbedder(save(*front, **options))
    assert "identity.model=" in str(refused.value)


def test_bad_files_and_options(tmp_path: Path, save: Save) -> None:
    (tmp_path / "text.onnx").write_text("Dear reader, this is no network.")
    (tmp_path / "cut.onnx").write_bytes(Path(save()).read_bytes()[:200])
    for name in ("text.onnx", "cut.onnx"):
        with pytest.raises(UserError, match=f"{name} is not a (complete|valid) ONNX model"):
            FaceEmbedder(str(tmp_path / name))
    with pytest.raises(UserError, match="no such file"):
        FaceEmbedder(str(tmp_path / "none.onnx"))
    with pytest.raises(UserError, match=r"identity\.model=FILE\.onnx"):
        PerceptualMetrics(["identity"], None, torch.device("cpu"), {})
    with pytest.raises(UserError, match=r"identity\.crop=1\.5"):
        FaceEmbedder(save(), crop=1.5)
    dynamic = FaceEmbedder(save(shape=("n", 3, None, None)))
    assert dynamic.size == (112, 112)
    with pytest.raises(UserError, match="fails on a face"):
        dynamic(torch.rand(1, 3, 8, 8))  # the matrix needs 8x6 pixels
