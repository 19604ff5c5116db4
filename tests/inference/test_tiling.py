"""Tiles give the same image as one pass of the network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from srgan_lightning.artifacts.load import load_generator
from srgan_lightning.imaging.picture import Picture, Pixels
from srgan_lightning.imaging.tiles import tiles
from srgan_lightning.inference import tiling
from srgan_lightning.inference.batchnorm_fusion import fold_batchnorm
from srgan_lightning.inference.tiling import receptive_radius, super_resolve
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.networks import Generator
from srgan_lightning.utils.errors import UserError
from tests.helpers.generators import tiny_generator


def noise(height: int, width: int, channels: int = 3) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def untiled(generator: Generator, pixels: Pixels) -> Pixels:
    """Return the network's result for the whole image, in 8 bits."""
    lr = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        sr = generator(lr)[0].clamp(0, 1).mul(255).round()
    return sr.permute(1, 2, 0).to(torch.uint8).numpy()  # type: ignore[no-any-return]


def levels_apart(a: Pixels, b: Pixels) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (64, 64), (65, 129)])
@pytest.mark.parametrize(("tile", "overlap"), [(64, 0), (16, 5), (0, 3)])
def test_cores_cover_each_pixel_once(size: tuple[int, int], tile: int, overlap: int) -> None:
    covered = np.zeros(size, int)
    for part in tiles(*size, tile, overlap):
        covered[part.core] += 1
        core, crop = part.core, part.crop
        for axis in (0, 1):
            assert crop[axis].start == max(core[axis].start - overlap, 0)
            assert crop[axis].stop == min(core[axis].stop + overlap, size[axis])
            assert not tile or core[axis].stop - core[axis].start <= tile
    assert (covered == 1).all()


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("blocks", [0, 3])
def test_the_radius_is_how_far_the_generator_sees(blocks: int, scale: int) -> None:
    """The gradient of one LR pixel's SR reaches exactly to the radius."""
    torch.manual_seed(1)
    generator = tiny_generator(blocks, scale).double()
    radius = receptive_radius(generator)
    side = 2 * radius + 5
    lr = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    middle = side // 2
    (rows,) = torch.autograd.grad(generator(lr)[..., middle * scale : (middle + 1) * scale, :].sum(), lr)
    reached = rows.abs().sum(dim=(0, 1, 3)).nonzero().flatten() - middle
    assert (int(reached.min()), int(reached.max())) == (-radius, radius)


def test_the_papers_generator_sees_40_pixels() -> None:
    assert receptive_radius(Generator()) == 40


@pytest.mark.parametrize("global_skip", ["none", "bicubic"])
@pytest.mark.parametrize("size", [(150, 90), (37, 131), (20, 16)])
def test_tiles_give_the_untiled_image(global_skip: str, size: tuple[int, int]) -> None:
    generator, pixels = tiny_generator(global_skip=global_skip), noise(*size)
    whole = untiled(generator, pixels)
    assert whole.std() > 20  # so that a wrong tile would differ
    for tile in (16, 33, 64, 0):
        tiled = TiledUpscaler(generator, tile).upscale(Picture(pixels))
        assert levels_apart(tiled.colour, whole) <= 1


@pytest.mark.parametrize("global_skip", ["none", "bicubic"])
def test_scores_see_the_untiled_image(global_skip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, lr = tiny_generator(global_skip=global_skip), torch.rand(2, 3, 70, 45)
    monkeypatch.setattr(tiling, "TILE", 20)
    monkeypatch.setattr("srgan_lightning.networks.generator.RECONSTRUCTION_TILE", 9)
    with torch.inference_mode():
        torch.testing.assert_close(super_resolve(generator, lr), generator(lr), atol=1e-5, rtol=1e-5)


def test_too_small_an_overlap_changes_the_image() -> None:
    """With less overlap, the images of the test above do differ."""
    generator, pixels = tiny_generator(), noise(60, 60)
    tiled = TiledUpscaler(generator, tile=16, overlap=0).upscale(Picture(pixels))
    assert levels_apart(tiled.colour, untiled(generator, pixels)) > 1


def test_a_trained_generator_in_tiles() -> None:
    """Test the newest full-size generator that was trained in this checkout, if any."""
    trained = sorted(Path(__file__).parents[2].glob("outputs/srresnet_celeba/*/generator.safetensors"))
    if not trained:
        pytest.skip("no outputs/srresnet_celeba/*/generator.safetensors: none has been trained here")
    generator, pixels = load_generator(trained[-1]), noise(70, 60)
    tiled = TiledUpscaler(generator, tile=32).upscale(Picture(pixels))
    assert levels_apart(tiled.colour, untiled(generator, pixels)) <= 1


@pytest.mark.parametrize("global_skip", ["none", "bicubic"])
def test_folding_batchnorm_changes_nothing(global_skip: str) -> None:
    generator = tiny_generator(global_skip=global_skip)
    folded, lr = fold_batchnorm(generator), torch.rand(1, 3, 20, 24)
    assert not any("BatchNorm" in type(module).__name__ for module in folded.modules())
    assert any("BatchNorm" in type(module).__name__ for module in generator.modules())  # a copy was folded
    with torch.inference_mode():
        torch.testing.assert_close(folded(lr), generator(lr), atol=1e-5, rtol=1e-5)


def test_half_precision_is_close_to_float32() -> None:
    """Upscale with bf16 convolutions and a float32 image."""
    generator, pixels = tiny_generator(global_skip="bicubic"), noise(40, 40)
    with torch.no_grad():
        generator.tail.weight *= 0.1
    half = TiledUpscaler(generator, precision="bf16").upscale(Picture(pixels)).colour
    assert levels_apart(half, untiled(generator, pixels)) <= 2


class Hungry(Generator):
    """Fail to allocate features for more than 30x30 pixels, with the message of PyTorch's CPU allocator."""

    def __init__(self, limit: int = 30) -> None:
        super().__init__(8, 1)
        self.head.register_forward_pre_hook(lambda _, inputs: self.check(inputs[0].shape, limit))

    @staticmethod
    def check(shape: torch.Size, limit: int) -> None:
        if shape[-1] * shape[-2] > limit**2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")


def test_out_of_memory_halves_the_tile(capsys: pytest.CaptureFixture[str]) -> None:
    pixels = noise(100, 100)
    upscaler = TiledUpscaler(Hungry().eval(), tile=80, overlap=4)
    assert upscaler.upscale(Picture(pixels)).colour.shape == (400, 400, 3)
    assert upscaler.tile == 20
    said = capsys.readouterr().err
    assert "tiles of 80 pixels: continuing with 40" in said
    assert "tiles of 40 pixels: continuing with 20" in said
    upscaler.upscale(Picture(pixels))
    assert capsys.readouterr().err == ""  # it was trained


def test_too_little_memory_for_any_tile() -> None:
    with pytest.raises(UserError, match="not enough memory even for tiles of 20"):
        TiledUpscaler(Hungry(limit=5).eval(), tile=80).upscale(Picture(noise(100, 100)))


def test_other_runtime_errors_are_no_reason_to_halve() -> None:
    generator = tiny_generator()
    generator.head.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("another fault")))
    with pytest.raises(RuntimeError, match="another fault"):
        TiledUpscaler(generator).upscale(Picture(noise(20, 20)))


@pytest.mark.parametrize("options", [{"tile": 3}, {"overlap": -1}, {"precision": "8"}, {"alpha": "maybe"}])
def test_options_out_of_range(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(options))}={next(iter(options.values()))}"):
        TiledUpscaler(tiny_generator(), **options)  # type: ignore[arg-type]
