"""The contract of a generator with any layers, and the defaults for optional traits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from srgan_lightning.imaging.picture import Picture
from srgan_lightning.inference import tiling
from srgan_lightning.inference.batchnorm_fusion import fold_batchnorm
from srgan_lightning.inference.tiling import receptive_radius, super_resolve
from srgan_lightning.inference.upscaling import TiledUpscaler, upscale_image
from srgan_lightning.networks.contract import run_padded, traits_of, validate_generator
from srgan_lightning.training.preflight import check_sizes
from srgan_lightning.utils.errors import UserError
from tests.helpers.generators import tiny_generator
from tests.helpers.own_rrdb import OwnRRDB


class Small(nn.Module):
    """One convolution and a shuffle, with `middle` between them."""

    def __init__(self, middle: Callable[[Tensor], Tensor] = lambda x: x, **traits: int) -> None:
        super().__init__()
        self.scale, self.arguments, self.middle = 2, {}, middle
        self.layer = nn.Conv2d(3, 12, 3, padding=1)
        for name, value in traits.items():
            setattr(self, name, value)

    def forward(self, lr: Tensor) -> Tensor:
        return pixel_shuffle(self.middle(self.layer(lr)), 2)


def windows(x: Tensor) -> Tensor:
    """Add the mean of its 8x8 window to each pixel, like window attention; sides must be multiples of 8."""
    batch, channels, height, width = x.shape
    means = x.reshape(batch, channels, height // 8, 8, width // 8, 8).mean((3, 5))
    return x + interpolate(means, scale_factor=8)


def looks_at_values(x: Tensor) -> Tensor:
    """Depend on the whole image, without spreading NaN."""
    return x + (x.nan_to_num() > 0).float().mean((2, 3), keepdim=True)


def noise(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(3))


def test_a_valid_generator_is_unchanged() -> None:
    generator = nn.Sequential(OwnRRDB(), nn.BatchNorm2d(3)).train()
    generator.scale, generator.arguments = 4, {}
    generator[0].eval()
    before, state = {n: t.clone() for n, t in generator.state_dict().items()}, torch.get_rng_state()
    assert validate_generator(generator) is generator
    assert (generator.training, generator[0].training, generator[1].training) == (True, False, True)
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in generator.state_dict().items():
        assert torch.equal(tensor, before[name]), name  # BatchNorm's statistics too


@pytest.mark.parametrize(
    ("generator", "words"),
    [
        (nn.Conv2d(3, 3, 3), r"Conv2d has scale=None and arguments=None. Give it `scale`"),
        (Small(scale=True), r"Small has scale=True"),
        (Small(scale=4), r"has scale=4, but maps \(1, 3, 16, 17\) to \(1, 3, 32, 34\) instead of \(1, 3, 64, 68\)"),
        (Small(lambda x: x[:, :4]), r"to \(1, 1, 32, 34\) instead of \(1, 3, 32, 34\)"),
        (Small(lambda x: x.mT), r"to \(1, 3, 34, 32\) instead of"),
        (Small(windows), r"fails on an LR image of 17x16 pixels: shape .* `side_multiple`"),
        (Small(lambda x: 1 / 0), r"fails on an LR image .*division by zero"),
        (Small(receptive_radius=-1), r"receptive_radius=-1: it must be a whole number of at least 0"),
        (Small(side_multiple=0), r"side_multiple=0: it must be a whole number of at least 1"),
        (Small(min_side=2.5), r"min_side=2.5"),
    ],
)
def test_an_invalid_generator_raises_user_error(generator: nn.Module, words: str) -> None:
    with pytest.raises(UserError, match=words) as raised:
        validate_generator(generator)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("model.generator: ") or "docs/networks.md" in str(raised.value)


def test_a_generator_without_weights_is_refused() -> None:
    generator = nn.Upsample(scale_factor=2)
    generator.scale, generator.arguments = 2, {}
    with pytest.raises(UserError, match="Upsample has no weights"):
        validate_generator(generator)


def test_training_refuses_what_does_not_fit_the_data(configure: Callable[..., DictConfig]) -> None:
    cfg = configure("experiment=quickstart", "data.crop=96")
    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    generator: Any = Small()
    with pytest.raises(UserError, match=r"upscales by 2, but the data are made for 4: set scale=2"):
        check_sizes(data, generator)
    generator.scale = 4
    check_sizes(data, generator)
    generator.side_multiple = 16
    with pytest.raises(UserError, match=r"data.crop=96 gives LR of 24x24, .* multiples of 16: set data.crop=128"):
        check_sizes(data, generator)


@pytest.mark.parametrize("size", [(8, 8), (3, 21), (1, 1), (30, 17)])
def test_other_sizes_are_padded_by_reflection(size: tuple[int, int]) -> None:
    generator, lr = validate_generator(Small(windows, side_multiple=8, min_side=16)).eval(), noise(*size)
    height, width = (max(-(-side // 8) * 8, 16) for side in size)
    with torch.no_grad():
        sr = run_padded(generator, lr)
        rows, columns = (
            # Reflect once over the existing pixels, then repeat the last of these.
            np.pad(np.pad(np.arange(side), (0, min(whole - side, side - 1)), "reflect"),
                   (0, max(whole - side - (side - 1), 0)), "edge")
            for side, whole in zip(size, (height, width), strict=True)
        )  # fmt: skip
        expected = generator(lr[..., rows, :][..., columns])
    assert expected.shape[-2:] == (2 * height, 2 * width)
    torch.testing.assert_close(sr, expected[..., : 2 * size[0], : 2 * size[1]], rtol=0, atol=0)


def test_the_radius_is_measured() -> None:
    def measured(generator: Any) -> int | None:
        return receptive_radius(generator.eval())

    assert measured(Small()) == 1
    assert measured(OwnRRDB(2, blocks=3)) == 11  # first, 3x3, up and last; the last two count half
    assert measured(Small(windows, side_multiple=8)) == 8  # the convolution sees one pixel of the neighbouring windows
    assert measured(Small(lambda x: x + x.mean((2, 3), keepdim=True))) is None
    assert measured(Small(looks_at_values)) is None
    assert measured(Small(nn.Conv2d(12, 12, 131, padding=65, groups=12))) is None
    known: Any = tiny_generator()
    says = known.receptive_radius
    known.__class__ = type("Silent", (type(known),), {"receptive_radius": None})
    assert traits_of(known).receptive_radius is None
    assert measured(known) == says == 12


@pytest.mark.parametrize(
    "generator", [OwnRRDB(), Small(windows, side_multiple=8), Small(windows, side_multiple=8, min_side=40)]
)
def test_tiles_give_the_untiled_image(generator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    generator.eval()
    lr = noise(75, 50)
    with torch.no_grad():
        whole = run_padded(generator, lr)
        monkeypatch.setattr(tiling, "TILE", 20)
        torch.testing.assert_close(super_resolve(generator, lr), whole, rtol=1e-5, atol=1e-5)
    pixels = lr[0].mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    with torch.no_grad():
        whole = run_padded(generator, torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    expected = whole[0].clamp(0, 1).mul(255).permute(1, 2, 0).numpy()
    for tile in (16, 33):
        upscaled = TiledUpscaler(generator, tile).upscale(Picture(pixels)).colour
        assert np.abs(upscaled - expected).max() <= 0.51


def test_a_network_that_depends_on_the_whole_image_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    generator: Any = Small(lambda x: x + x.mean((2, 3), keepdim=True))
    monkeypatch.setattr(tiling, "TILE", 20)
    lr = noise(40, 50)
    with torch.no_grad():
        torch.testing.assert_close(super_resolve(generator, lr), generator(lr), rtol=0, atol=0)
    upscaler = TiledUpscaler(generator, 16)
    upscaler.upscale(Picture(np.zeros((40, 50, 3), np.uint8)))
    assert upscaler.overlap == tiling.OVERLAP == 64


def test_a_size_that_is_wrong_for_larger_images_only_is_refused() -> None:
    generator: Any = Small(lambda x: x[..., :30])
    with pytest.raises(UserError, match=r"maps \(1, 3, 9, 40\) to \(1, 3, 18, 60\) instead of \(1, 3, 18, 80\)"):
        TiledUpscaler(validate_generator(generator)).upscale(Picture(np.zeros((9, 40, 3), np.uint8)))


def test_unsupported_half_precision_is_refused() -> None:
    generator: Any = Small(supports_half=0)
    with pytest.raises(UserError, match=r"does not work in float16. Use bf16 or 32"):
        TiledUpscaler(generator, precision="16")
    TiledUpscaler(generator, precision="bf16")


def test_layers_that_are_used_in_another_order_are_not_folded() -> None:
    class Between(Small):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(12, 12, 1), nn.BatchNorm2d(12))
            self.layers[1].running_mean.add_(1)

        def forward(self, lr: Tensor) -> Tensor:
            x = self.layers[0](self.layer(lr)).square()
            return pixel_shuffle(self.layers[1](x), 2)

    generator: Any = Between().eval()
    folded, lr = fold_batchnorm(generator), noise(9, 9)
    with torch.no_grad():
        torch.testing.assert_close(folded(lr), generator(lr), rtol=0, atol=0)


def test_upscale_image_accepts_any_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    assert upscale_image(Image.new("RGB", (5, 7)), OwnRRDB(2).eval()).size == (10, 14)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="weights: Conv2d has scale=None"):
        upscale_image(Image.new("RGB", (5, 7)), nn.Conv2d(3, 3, 1))  # type: ignore[arg-type]
