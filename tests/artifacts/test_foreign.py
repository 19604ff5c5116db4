"""Published weights of other projects load without running code, and compute what spandrel computes."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from srgan_lightning.artifacts import foreign
from srgan_lightning.artifacts.artifact import read_safetensors, save_artifact
from srgan_lightning.artifacts.load import load_spandrel, load_trained
from srgan_lightning.imaging.picture import Picture
from srgan_lightning.inference.tiling import receptive_radius
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.networks.contract import run_padded
from srgan_lightning.networks.spandrel_generator import SpandrelGenerator, compact, rrdb
from srgan_lightning.utils.build_limit import BuildLimit, TooLargeError
from srgan_lightning.utils.errors import UserError
from tests.helpers import foreign as made
from tests.helpers.foreign import basicsr_names, save_pth

spandrel = pytest.importorskip("spandrel")


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(5))


def same_as_spandrel(path: Path, network: nn.Module, side: int = 16, channels: int = 3) -> None:
    trained = load_trained(path)
    theirs = spandrel.ModelLoader().load_from_state_dict(network.state_dict())
    lr = noise(1, channels, side, side + 3)
    with torch.no_grad():
        ours = run_padded(trained.generator, lr.expand(1, 3, -1, -1))
    expected = theirs(lr)
    assert expected.std() > 0.01
    torch.testing.assert_close(ours.clamp(0, 1), expected.expand(1, 3, -1, -1), rtol=1e-5, atol=1e-5)
    assert trained.generator.scale == theirs.scale
    assert trained.metadata["architecture"] == "SpandrelGenerator"
    assert trained.name == path.stem


@pytest.mark.parametrize("under", [None, "params_ema", "params"])
def test_real_esrgan_in_published_names(tmp_path: Path, under: str | None) -> None:
    network = made.esrgan()
    state = basicsr_names(network.state_dict())
    assert "body.0.rdb3.conv5.weight" in state
    torch.save(state if under is None else {under: state}, tmp_path / "4x_faces.pth")
    same_as_spandrel(tmp_path / "4x_faces.pth", network)


def test_esrgan_of_the_first_names_in_the_first_format_of_torch_and_in_safetensors(tmp_path: Path) -> None:
    network = made.esrgan(2)
    torch.save(network.state_dict(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    save_file(network.state_dict(), tmp_path / "b.safetensors")
    save_file(network.state_dict(), tmp_path / "c.safetensors", {"format": "pt"})
    for name in ("a.pth", "b.safetensors", "c.safetensors"):
        same_as_spandrel(tmp_path / name, network)


@pytest.mark.parametrize(
    ("network", "side"),
    [
        (lambda: made.compact(upscale=3), 16),
        (lambda: made.esrgan(4, in_nc=12, shuffle_factor=2), 9),  # Real-ESRGAN's x2: sides are multiples of 4
        (lambda: made.swinir(), 7),  # at least 16 pixels
    ],
)
def test_others_and_their_sizes(tmp_path: Path, network: Callable[[], nn.Module], side: int) -> None:
    same_as_spandrel(save_pth(tmp_path / "x.pth", network()), network(), side)


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    network = made.compact()
    state = {name: tensor.half() for name, tensor in network.state_dict().items()}
    save_file(state, tmp_path / "half.safetensors")
    generator = load_trained(tmp_path / "half.safetensors").generator
    assert {tensor.dtype for tensor in generator.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(generator.state_dict()["network.body.0.weight"], state["body.0.weight"].float())


def test_a_grey_network_runs_on_each_channel(tmp_path: Path) -> None:
    network = made.compact(num_in_ch=1, num_out_ch=1)
    path = save_pth(tmp_path / "grey.pth", network)
    same_as_spandrel(path, network, channels=1)
    lr = noise(2, 3, 16, 16)
    with torch.no_grad():
        expected = torch.cat([network(lr[:, channel : channel + 1]) for channel in range(3)], dim=1)
        torch.testing.assert_close(load_trained(path).generator(lr), expected)


def test_tiles_begin_where_the_windows_do(tmp_path: Path) -> None:
    generator = load_trained(save_pth(tmp_path / "swin.pth", made.swinir())).generator
    assert 4 < (receptive_radius(generator) or 0) < 20
    pixels = np.random.default_rng(0).integers(0, 256, (75, 50, 3), dtype=np.uint8)
    whole, tiled = (TiledUpscaler(generator, tile).upscale(Picture(pixels)).colour for tile in (0, 16))
    assert whole.std() > 5
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    with pytest.raises(UserError, match="does not work in float16"):
        TiledUpscaler(generator, precision="16")


@pytest.mark.parametrize("build", [lambda: rrdb(2, 8, 1), lambda: compact(4, 8, 2)])
def test_an_artifact_has_the_published_names_and_loads_again(
    tmp_path: Path, build: Callable[[], SpandrelGenerator]
) -> None:
    generator = build().eval()
    save_artifact(tmp_path / "mine.safetensors", generator, {"recipe": {"updates": 3}})
    tensors, metadata = read_safetensors(tmp_path / "mine.safetensors")
    assert not [name for name in tensors if name.startswith("network.")]
    assert metadata["architecture"] == "SpandrelGenerator"
    trained = load_trained(tmp_path / "mine.safetensors")
    assert trained.metadata["recipe"] == {"updates": 3}
    assert trained.generator.arguments == generator.arguments
    theirs = spandrel.ModelLoader().load_from_file(tmp_path / "mine.safetensors")  # no plug-in
    lr = noise(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(trained.generator(lr), generator(lr), rtol=0, atol=0)
        torch.testing.assert_close(theirs(lr), generator(lr).clamp(0, 1), rtol=0, atol=0)
    assert load_spandrel(str(tmp_path / "mine.safetensors")).training


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("was_run",)


def refused(path: Path) -> str:
    with pytest.raises(UserError) as raised:
        load_trained(path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(path))
    return str(raised.value)


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = {**made.compact().state_dict(), "more": Evil()}
    torch.save(state, tmp_path / "a.pth")
    torch.save(state, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "c.pth").write_bytes(pickle.dumps(state["more"]))
    torch.jit.script(nn.Conv2d(3, 3, 1)).save(tmp_path / "d.pt")  # type: ignore[no-untyped-call]
    torch.save(made.compact(), tmp_path / "e.pth")  # the whole module
    for name in ("a.pth", "b.pth", "c.pth", "d.pt", "e.pth"):
        assert "Code in a file is never run" in refused(tmp_path / name), name
    assert not (tmp_path / "was_run").exists()


def test_what_is_no_super_resolution_is_refused(tmp_path: Path) -> None:
    from spandrel.architectures.LaMa import LaMaArch
    from spandrel.architectures.SwinIR import SwinIR

    restoring = SwinIR(embed_dim=8, depths=[2], num_heads=[2], window_size=4, img_size=16, upsampler="", upscale=1)
    said = refused(save_pth(tmp_path / "denoise.pth", restoring))
    assert "a network of SwinIR for restoration at scale 1" in said
    assert "restoration at scale 1" in refused(save_pth(tmp_path / "one.pth", made.compact(upscale=1)))
    rgba = made.compact(num_in_ch=4, num_out_ch=4)
    assert "maps 4 channels to 4" in refused(save_pth(tmp_path / "alpha.pth", rgba))
    assert LaMaArch().id == "LaMa"  # the keys of a video network (BasicVSR), of nothing that spandrel knows:
    video = {"spynet.basic_module.0.basic_module.0.weight": torch.ones(32, 8, 7, 7), "fusion.weight": torch.ones(4)}
    torch.save(video, tmp_path / "video.pth")
    assert "it holds no network that spandrel" in refused(tmp_path / "video.pth")
    save_file(video, tmp_path / "video.safetensors")
    assert "was not written by srgan-lightning, and it holds no network" in refused(tmp_path / "video.safetensors")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "holds list instead of tensors by name" in refused(tmp_path / "list.pth")


def small(names: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(shape) for name, shape in names.items()}


HUGE: dict[str, dict[str, torch.Tensor]] = {
    "blocks without end": {**made.esrgan().state_dict(), "model.1.sub.99999999.bias": torch.zeros(1)},
    "many blocks": {**made.esrgan().state_dict(), "model.1.sub.500.bias": torch.zeros(1)},
    "many features": small({"body.0.weight": (200_000, 3), "body.1.weight": (1,), "body.2.bias": (48,)}),
    "a window of 10^6 pixels": {
        **made.swinir().state_dict(),
        "layers.0.residual_group.blocks.0.attn.relative_position_index": torch.zeros(1_000_000, 1),
    },
    "wide heads": {
        **made.swinir().state_dict(),
        "layers.0.residual_group.blocks.0.attn.relative_position_bias_table": torch.zeros(1, 3_000_000),
    },
}


@pytest.mark.parametrize("state", HUGE.values(), ids=HUGE.keys())
def test_a_small_file_makes_no_huge_network(
    tmp_path: Path, state: dict[str, torch.Tensor], little_memory: None
) -> None:
    torch.save(state, tmp_path / "huge.pth")
    refused(tmp_path / "huge.pth")


def test_many_tensors_and_deep_nesting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "MAX_TENSORS", 60)
    torch.save(small({f"body.{index % 500}.x{index}": (1,) for index in range(61)}), tmp_path / "many.pth")
    assert "it has more than 60 tensors" in refused(tmp_path / "many.pth")
    nested: Any = made.compact().state_dict()
    for _ in range(30):
        nested = {"params": nested}
    torch.save(nested, tmp_path / "nested.pth")
    refused(tmp_path / "nested.pth")


def test_damaged_values(tmp_path: Path) -> None:
    state = made.compact().state_dict()
    torch.save({**state, "body.0.weight": state["body.0.weight"] * torch.nan}, tmp_path / "nan.pth")
    assert "are not all finite numbers" in refused(tmp_path / "nan.pth")
    torch.save({**state, "body.2.weight": torch.zeros(8, 8, 5, 5)}, tmp_path / "shape.pth")
    assert "size mismatch" in refused(tmp_path / "shape.pth")
    torch.save({**state, "body.0.weight": "text"}, tmp_path / "text.pth")
    refused(tmp_path / "text.pth")


def test_a_descriptor_that_lies_about_its_scale_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lying(tensors: Any) -> SpandrelGenerator:
        descriptor = spandrel.ModelLoader().load_from_state_dict(dict(tensors))
        descriptor.scale = 8
        return SpandrelGenerator(descriptor)

    monkeypatch.setattr(foreign, "generator_of", lying)
    assert "has scale=8, but" in refused(save_pth(tmp_path / "x.pth", made.compact()))


@pytest.mark.slow
def test_the_limit_counts_before_memory_is_taken(little_memory: None) -> None:
    for huge in (
        lambda: torch.empty(10**11),
        lambda: torch.ones(10**6, 1) - torch.ones(1, 10**6),
        lambda: [torch.rand(10**7) for _ in range(10**4)],
        lambda: nn.Linear(10**6, 10**6),
        lambda: [torch.empty(0) for _ in range(10**6)],
    ):
        with BuildLimit(1000, 1), pytest.raises(TooLargeError):
            huge()
    with BuildLimit(1000, 1):
        assert [float(x) for x in torch.linspace(0, 1, 3)] == [0, 0.5, 1]  # numbers are read
        assert nn.Conv2d(3, 8, 3)(torch.rand(1, 3, 8, 8)).shape == (1, 8, 6, 6)
