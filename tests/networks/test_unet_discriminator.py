"""The U-Net discriminator: torch's spectral norm, Real-ESRGAN's names, and training."""

import copy
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from srgan_lightning.losses import AdversarialLoss
from srgan_lightning.networks import UNetDiscriminator
from srgan_lightning.train import train
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY, TINY_FACES
from tests.helpers.spy import Spy
from tests.helpers.stops import assert_resumes_exactly

Configure = Callable[..., DictConfig]
UNET = ["experiment=quickstart", *TINY, *TINY_FACES, "model/discriminator=unet", "model.discriminator.channels=4"]


class Reference(nn.Module):
    """Build the layers as Real-ESRGAN does, with torch's spectral norm."""

    def __init__(self, c: int) -> None:
        super().__init__()
        shapes = [(c, 2 * c, 4, 2), (2 * c, 4 * c, 4, 2), (4 * c, 8 * c, 4, 2), (8 * c, 4 * c, 3, 1)]
        shapes += [(4 * c, 2 * c, 3, 1), (2 * c, c, 3, 1), (c, c, 3, 1), (c, c, 3, 1)]
        self.conv0 = nn.Conv2d(3, c, 3, 1, 1)
        for i, (inputs, outputs, kernel, stride) in enumerate(shapes, start=1):
            setattr(self, f"conv{i}", spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=False)))
        self.conv9 = nn.Conv2d(c, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        def step(i: int, x: Tensor) -> Tensor:
            return F.leaky_relu(getattr(self, f"conv{i}")(x), 0.2)

        def twice(x: Tensor) -> Tensor:
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

        x0 = step(0, x)
        x1 = step(1, x0)
        x2 = step(2, x1)
        x3 = step(3, x2)
        x4 = step(4, twice(x3)) + x2
        x5 = step(5, twice(x4)) + x1
        x6 = step(6, twice(x5)) + x0
        out: Tensor = self.conv9(step(8, step(7, x6)))
        return out


def test_it_has_real_esrgans_size_and_names() -> None:
    network = UNetDiscriminator()
    assert sum(p.numel() for p in network.parameters()) == 4_376_897
    names = "\n".join(sorted(network.state_dict()))
    # Of the names in RealESRGAN_x4plus_netD.pth: two convolutions with a bias, eight with the names of spectral_norm.
    assert names == "\n".join(sorted(Reference(1).state_dict()))
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "38de66c60786d186"


def test_it_is_the_reference_forward_backward_and_in_its_vectors() -> None:
    """Run two passes before one backward, like a step on HR and SR."""
    ours, theirs = UNetDiscriminator(4), Reference(4)
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 2, 3, 16, 24)
    for network in (ours, theirs):
        (network(images[0]).square().mean() + network(images[1]).mean()).backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name])
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    torch.testing.assert_close(ours.eval()(images[0]), theirs.eval()(images[0]))


def test_largest_singular_values_become_1() -> None:
    network = UNetDiscriminator(4)
    for _ in range(100):
        network(torch.rand(1, 3, 8, 8))
    norms = [torch.linalg.matrix_norm(p.flatten(1), 2) for name, p in network.named_parameters() if "_orig" in name]
    layers = [getattr(network, f"conv{i}") for i in range(1, 9)]
    estimates = [layer.weight_u @ layer.weight_orig.flatten(1) @ layer.weight_v for layer in layers]
    torch.testing.assert_close(torch.stack(estimates), torch.stack(norms), rtol=1e-2, atol=0)


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (5, 3), (96, 100)])
def test_any_size_gives_a_map_of_that_size(size: tuple[int, int]) -> None:
    network = UNetDiscriminator(2)
    assert network(torch.rand(2, 3, *size)).shape == (2, 1, *size)
    assert copy.deepcopy(network)(torch.rand(1, 3, *size)).shape == (1, 1, *size)


def test_a_width_out_of_range_is_refused() -> None:
    with pytest.raises(UserError, match="channels=0"):
        UNetDiscriminator(0)


def test_autocast_leaves_the_singular_values_in_float32() -> None:
    torch.manual_seed(0)
    plain = UNetDiscriminator(4)
    half = copy.deepcopy(plain)
    image = torch.rand(1, 3, 16, 16)
    expected = plain(image)
    with torch.autocast("cpu", torch.bfloat16):
        actual = half(image)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual.float(), expected, rtol=0.05, atol=0.02)
    for name, buffer in plain.named_buffers():
        assert torch.equal(buffer, half.get_buffer(name)), name


@pytest.mark.parametrize("kind", ["bce", "hinge", "least_squares", "linear"])
def test_losses_of_maps_are_means_over_all_pixels(kind: str) -> None:
    game = AdversarialLoss(kind)
    real, fake = torch.randn(2, 1, 4, 6), torch.randn(2, 1, 4, 6)
    pixels = list(itertools.product(range(2), range(4), range(6)))
    one = [game.discriminator(real[b, :, y, x], fake[b, :, y, x]) for b, y, x in pixels]
    torch.testing.assert_close(game.discriminator(real, fake), torch.stack(one).mean())
    torch.testing.assert_close(game.generator(fake), torch.stack([game.generator(v) for v in fake.flatten()]).mean())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_it_trains_and_is_monitored(configure: Configure, precision: str) -> None:
    spy = Spy()
    overrides = ["trainer.max_steps=3", "trainer.val_check_interval=3", "callbacks.health.interval=1"]
    cfg = configure(*UNET, *overrides, f"trainer.precision={precision}")
    train(cfg, [spy])
    for name, parameter in spy.module.discriminator.named_parameters():
        assert not torch.equal(parameter, spy.start[f"discriminator.{name}"]), name
    assert 0 < spy.module.values["d_real"] < 1
    lines = (Path(cfg.run_dir) / "metrics.csv").read_text().splitlines()
    assert "health/update_discriminator" in lines[0]


@pytest.mark.slow
def test_a_run_with_it_resumes_exactly(tmp_path: Path) -> None:
    """The vectors of the power iteration are resumed too, also between accumulated batches."""
    overrides = [*UNET, "model.accumulate_grad_batches=2", "trainer.max_steps=3", "trainer.val_check_interval=3"]
    _, parts = assert_resumes_exactly(tmp_path, overrides, (1, 4))
    state = torch.load(parts / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert "discriminator.conv1.weight_u" in state


@pytest.mark.parametrize("experiment", ["quickstart", "faces_srgan", "srgan_celeba", "paper_srgan", "celeba_blur"])
def test_every_experiment_accepts_it(configure: Configure, experiment: str) -> None:
    chosen: Any = OmegaConf.to_container(configure(f"experiment={experiment}", "model/discriminator=unet").model)
    assert chosen["discriminator"] == {"_target_": "srgan_lightning.networks.UNetDiscriminator", "channels": 64}
