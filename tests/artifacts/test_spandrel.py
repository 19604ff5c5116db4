"""Artifacts load in spandrel, without this package's metadata, and compute the same."""

from pathlib import Path

import pytest
import torch

from srgan_lightning.artifacts.bundled import BUNDLED
from srgan_lightning.artifacts.load import load_generator
from tests.helpers.generators import tiny_artifact, tiny_generator

spandrel = pytest.importorskip("spandrel")


@pytest.fixture(autouse=True)
def registered() -> None:
    from srgan_lightning.artifacts.spandrel_arch import install

    install()
    install()  # a second call is harmless


@pytest.mark.parametrize("global_skip", ["none", "bicubic"])
@pytest.mark.parametrize(("blocks", "scale"), [(0, 4), (1, 8), (2, 2)])
def test_an_artifact_computes_the_same(tmp_path: Path, blocks: int, scale: int, global_skip: str) -> None:
    path = tiny_artifact(tmp_path, blocks=blocks, scale=scale, global_skip=global_skip)
    model, ours = spandrel.ModelLoader().load_from_file(path), load_generator(path)
    assert model.architecture.id == "srgan-lightning"
    assert (model.scale, model.tags) == (scale, ["8nf", f"{blocks}nb"])
    assert model.model.arguments == ours.arguments
    lr = torch.rand(1, 3, 9, 13)
    with torch.no_grad():
        expected = ours(lr)
    assert expected.max() > 0.02  # not everything is clamped
    torch.testing.assert_close(model(lr), expected.clamp(0, 1), rtol=0, atol=0)


def test_no_other_architecture_claims_our_tensors_and_we_claim_no_others() -> None:
    weights = tiny_generator().state_dict()
    claiming = [entry.architecture.id for entry in spandrel.MAIN_REGISTRY if entry.detect(weights)]
    assert claiming == ["srgan-lightning"]
    ours = spandrel.MAIN_REGISTRY["srgan-lightning"]
    assert not ours.detect({name: tensor for name, tensor in weights.items() if not name.startswith("upsampler")})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("global_skip", ["none", "bicubic"])
def test_half_precision_stays_what_it_is(tmp_path: Path, dtype: torch.dtype, global_skip: str) -> None:
    path = tiny_artifact(tmp_path, global_skip=global_skip)
    model, lr = spandrel.ModelLoader().load_from_file(path), torch.rand(1, 3, 8, 8)
    expected = model(lr)
    sr = model.to(dtype)(lr.to(dtype))
    assert sr.dtype == dtype
    torch.testing.assert_close(sr.float(), expected, rtol=0, atol=0.05)


def test_bundled_models_load() -> None:
    for path in BUNDLED.glob("*.safetensors"):
        model = spandrel.ModelLoader().load_from_file(path)
        assert model.model.arguments == load_generator(path).arguments
