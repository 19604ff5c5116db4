"""ICNR: a generator that starts without a grid."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from srgan_lightning.artifacts.artifact import read_artifact
from srgan_lightning.data.synthetic.faces import SyntheticFaces
from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.metrics.grid_energy import GridEnergy
from srgan_lightning.networks import Generator
from srgan_lightning.networks.icnr import equal_phases
from srgan_lightning.train import train
from tests.conftest import TINY_FACES, TINY_SRGAN
from tests.helpers.spy import Spy

Configure = Callable[..., DictConfig]


def test_a_convolution_and_shuffle_start_as_nearest_neighbour_enlargement() -> None:
    convolution = nn.Conv2d(5, 4 * 3, 3, padding=1)
    first = nn.Conv2d(5, 3, 3, padding=1)
    equal_phases(convolution)
    with torch.no_grad():
        first.weight.copy_(convolution.weight[::4])
        first.bias.copy_(convolution.bias[::4])  # type: ignore[index, union-attr]
    x = torch.randn(2, 5, 6, 7)
    torch.testing.assert_close(F.pixel_shuffle(convolution(x), 2), F.interpolate(first(x), scale_factor=2))


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_flat_images_stay_flat_through_the_fast_tail(scale: int) -> None:
    """Compare away from the border, which shows padding. The usual initialisation's grid is far above rounding."""

    def unevenness(icnr: bool) -> float:
        torch.manual_seed(0)
        sr = Generator(8, 1, scale, icnr=icnr).eval()(torch.full((1, 3, 24, 24), 0.3))
        inner = sr[..., 10 * scale : -10 * scale, 10 * scale : -10 * scale]
        return float(inner.std((-2, -1)).max().detach())

    assert unevenness(icnr=True) < 1e-6
    assert unevenness(icnr=False) > 1e-3


def test_it_starts_without_the_grid_of_the_usual_initialisation() -> None:
    faces = SyntheticFaces(2, (256, 256))
    hr = torch.stack([faces.read(index) for index in range(2)]).float() / 255
    lr = resize_bicubic(hr, (64, 64)).clamp(0, 1)

    def energy(icnr: bool) -> float:
        torch.manual_seed(0)
        with torch.no_grad():
            sr = Generator(16, 1, icnr=icnr)(lr)
        metric = GridEnergy(4)
        metric.update((sr - sr.mean()) / sr.std() * hr.std() + hr.mean())  # in the range of a photo
        return float(metric.compute())

    assert energy(icnr=True) < 1.0
    assert energy(icnr=False) > 5.0


def test_nothing_else_of_the_network_changes() -> None:
    weights: list[dict[str, Tensor]] = []
    for icnr in (False, True):
        torch.manual_seed(0)
        generator = Generator(4, 1, icnr=icnr)
        weights.append(generator.state_dict())
        assert generator.arguments == {"channels": 4, "blocks": 1, "scale": 4, "global_skip": "none"}
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]) == (not name.startswith(("upsampler.0.", "upsampler.3."))), name
    assert torch.equal(weights[0]["upsampler.0.weight"][::4], weights[1]["upsampler.0.weight"][::4])


@pytest.mark.slow
def test_training_starts_with_equal_kernels_that_then_differ(configure: Configure) -> None:
    spy = Spy()
    cfg = configure(
        "experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "model.generator.icnr=true", "trainer.max_steps=3"
    )
    train(cfg, [spy])
    for name in ("upsampler.0", "upsampler.3"):
        start, end = spy.start[f"generator.{name}.weight"], spy.module.get_parameter(f"generator.{name}.weight")
        assert torch.equal(start[::4], start[1::4])
        assert not torch.equal(end[::4], end[1::4])
    _, metadata = read_artifact(Path(cfg.run_dir) / "generator.safetensors")
    assert "icnr" not in json.loads(metadata["arguments"])  # the network is the same
