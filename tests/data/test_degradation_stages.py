"""Each stage of a degradation against an independent value: random numbers, kernels, resizing, noise, JPEG."""

import io
import math
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srgan_lightning.data.counter_rng import CounterRNG
from srgan_lightning.data.datasets import GOLDEN
from srgan_lightning.data.jpeg import by_arithmetic, by_libjpeg
from srgan_lightning.data.kernels import bell_kernels, filter_images, sinc_kernels
from srgan_lightning.data.noise import add_noise, poisson_noise
from srgan_lightning.data.synthetic.faces import SyntheticFaces
from srgan_lightning.imaging.resampling import MODES, full_size, places, repeat_border, resize

ONE = torch.ones(1)


def drawn_faces(count: int, height: int, width: int) -> torch.Tensor:
    source = SyntheticFaces(count, (height, width))
    return torch.stack([source.read(index) for index in range(count)])


def lowbias32(x: int) -> int:
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def test_draws_are_a_function_of_draw_and_name() -> None:
    draw = torch.rand(64)
    all_, some = CounterRNG(draw), CounterRNG(draw[5:9])
    torch.testing.assert_close(all_.uniform("a")[5:9], some.uniform("a"), rtol=0, atol=0)
    assert not torch.equal(all_.uniform("a"), all_.uniform("b"))
    # In Python integers. The value must stay the same in every version, or resumed runs would see other images.
    bits = int.from_bytes(np.float32(0.25).tobytes(), "little")
    expected = (lowbias32(lowbias32(lowbias32(bits) ^ zlib.crc32(b"sigma"))) >> 8) / 2**24
    assert CounterRNG(torch.tensor([0.25])).uniform("sigma").item() == expected == pytest.approx(0.78571, abs=1e-5)


def test_draws_are_uniform_and_independent_of_each_other() -> None:
    """Test also draws as close as float32 allows, and the multiples of the golden ratio that validation uses."""
    for draw in (torch.arange(20000) * 2.0**-24, torch.arange(20000).double() * GOLDEN % 1):
        draws = CounterRNG(draw)
        values = torch.stack([draws.uniform(name) for name in ("a", "b", "sigma")])
        shares = torch.stack([torch.histc(value, 20, 0, 1) for value in values]) / 1000
        assert (shares - 1).square().sum(dim=1).max() * 1000 < 44  # chi-square of 19 degrees, p = 0.001
        assert (torch.corrcoef(values) - torch.eye(3)).abs().max() < 0.03
        assert torch.corrcoef(torch.stack([values[0, 1:], values[0, :-1]]))[0, 1].abs() < 0.03
        chosen = torch.bincount(draws.choice("c", [1, 0, 3]), minlength=3) / 20000
        torch.testing.assert_close(chosen, torch.tensor([0.25, 0, 0.75]), atol=0.02, rtol=0)


def test_normal_numbers_have_the_moments_of_white_noise() -> None:
    size = torch.tensor([[200, 200]] * 2)
    noise = CounterRNG(torch.tensor([0.1, 0.2])).normal("n", *places(size, (200, 200)), 3)
    assert noise.isfinite().all()
    for one in noise.flatten(0, 1):
        assert (abs(one.mean()) < 0.02, abs(one.std() - 1) < 0.02, abs((one**4).mean() - 3) < 0.15) == (True,) * 3
        for shifted in (one.roll(1, 0), one.roll(1, 1), one.roll((1, 1), (0, 1))):
            assert abs((one * shifted).mean()) < 0.02
    flat = noise.flatten(0, 1).flatten(1)
    assert (torch.corrcoef(flat) - torch.eye(6)).abs().max() < 0.02


@settings(max_examples=25, deadline=None)
@given(
    sigma=st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)),
    angle=st.floats(-math.pi, math.pi),
    beta=st.floats(0.5, 4),
    plateau=st.booleans(),
    side=st.integers(3, 10).map(lambda half: 2 * half + 1),
)
def test_bell_kernels_follow_their_formula(
    sigma: tuple[float, float], angle: float, beta: float, plateau: bool, side: int
) -> None:
    ours = bell_kernels(
        torch.tensor([sigma]), ONE * angle, ONE * beta, torch.tensor([plateau]), torch.tensor([side]), 21
    )[0]
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.diag(np.square(sigma)) @ turn.T)
    place = np.arange(side) - side // 2
    xy = np.stack(np.meshgrid(place, place), axis=-1)
    power = np.einsum("yxi,ij,yxj->yx", xy, inverse, xy).clip(0) ** beta
    expected = 1 / (1 + power) if plateau else np.exp(-0.5 * power)
    pad = (21 - side) // 2
    np.testing.assert_allclose(ours.numpy(), np.pad(expected / expected.sum(), pad), atol=2e-5)
    assert ours.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("cutoff", "side"), [(1.0, 7), (2.0, 13), (math.pi, 21)])
def test_sinc_is_a_circular_low_pass(cutoff: float, side: int) -> None:
    kernel = sinc_kernels(ONE * cutoff, torch.tensor([side]), 21)[0]
    assert kernel.sum().item() == pytest.approx(1, abs=1e-5)
    # J1 by its integral: (1 / pi) * integral of cos(t - z sin t) from 0 to pi.
    t = (np.arange(2000) + 0.5) * math.pi / 2000
    y, x = np.mgrid[-10:11, -10:11]
    radius = np.hypot(y, x)
    bessel = np.cos(t - cutoff * radius[..., None] * np.sin(t)).mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(radius == 0, cutoff**2 / (4 * math.pi), cutoff * bessel / (2 * math.pi * radius))
    expected[(np.abs(y) > side // 2) | (np.abs(x) > side // 2)] = 0
    np.testing.assert_allclose(kernel.numpy(), expected / expected.sum(), atol=2e-5)


def test_each_image_is_filtered_by_its_own_kernel() -> None:
    images, kernels = torch.rand(3, 3, 9, 12), torch.rand(3, 5, 5)
    filtered = filter_images(images, kernels)
    padded = F.pad(images, (2,) * 4, mode="replicate")
    for number in range(3):
        expected = F.conv2d(padded[number][:, None], kernels[number][None, None])[:, 0]
        torch.testing.assert_close(filtered[number], expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(old=st.tuples(*[st.integers(1, 40)] * 2), new=st.tuples(*[st.integers(1, 60)] * 2), mode=st.sampled_from(MODES))
def test_resizing_is_torchs(old: tuple[int, int], new: tuple[int, int], mode: str) -> None:
    """In one batch with an image of another size."""
    image = torch.rand(1, 3, *old)
    canvas = torch.rand(2, 3, 40, 40)
    canvas[0, :, : old[0], : old[1]] = image
    sizes, new_sizes = torch.tensor([old, (40, 40)]), torch.tensor([new, (60, 60)])
    modes = torch.tensor([MODES.index(mode), 1])
    expected = F.interpolate(image, new, mode=mode, **({} if mode == "area" else {"align_corners": False}))[0]
    ours = resize(canvas, sizes, new_sizes, (60, 60), modes, antialias=False)
    here = ours[0, :, : new[0], : new[1]]
    edge = [2 * math.ceil(n / o) if mode == "bicubic" else 0 for o, n in zip(old, new, strict=True)]
    inside = slice(None), slice(edge[0], new[0] - edge[0]), slice(edge[1], new[1] - edge[1])
    torch.testing.assert_close(here[inside], expected[inside], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours, repeat_border(ours, new_sizes), atol=1e-5, rtol=1e-5)
    if mode != "area" and old[1] > 1 and new[1] > 1:  # from or to one column, torch repeats the first pixel
        expected = F.interpolate(image, new, mode=mode, antialias=True)[0]
        ours = resize(canvas, sizes, new_sizes, (60, 60), modes, antialias=True)[0, :, : new[0], : new[1]]
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_gaussian_noise_has_its_level_and_may_be_grey() -> None:
    images = torch.full((3, 3, 100, 100), 0.5)
    zero = torch.zeros(3)
    draws, grey = CounterRNG(torch.tensor([0.1, 0.2, 0.3])), torch.tensor([False, True, False])
    noisy = add_noise(images, full_size(images), draws, "x", torch.tensor([10.0, 20.0, 0.0]), zero, grey)
    noise = (noisy - images) * 255
    torch.testing.assert_close(noise.flatten(1).std(dim=1), torch.tensor([10.0, 20.0, 0.0]), atol=0.5, rtol=0)
    assert noise.flatten(1).mean(dim=1).abs().max() < 0.5
    assert torch.equal(noise[1, 0], noise[1, 2])
    assert abs(torch.corrcoef(noise[0].flatten(1))[0, 1]) < 0.05
    assert torch.equal(noisy[2], images[2])


def test_poisson_noise_has_poissons_moments() -> None:
    """Each row is one level."""
    image = (torch.arange(256) / 255)[None, None, :, None].expand(1, 1, -1, 4000)
    normal = torch.randn(1, 1, 256, 4000, generator=torch.Generator().manual_seed(0))
    counts = poisson_noise(image, normal)[0, 0] * 256
    mean = torch.arange(256) * (256 / 255)
    assert torch.equal(counts[0], torch.zeros(4000))
    assert counts.mean(dim=1).abs().max() < 1.2  # the standard deviation of the brightest row is 16
    bright = mean >= 4
    torch.testing.assert_close(counts.var(dim=1)[bright], mean[bright], rtol=0.1, atol=0.5)
    skewness = (counts**3).mean(dim=1) / counts.var(dim=1) ** 1.5
    assert (skewness - mean**-0.5)[bright].abs().mean() < 0.05
    poisson = torch.poisson(mean[:, None].expand(-1, 4000), torch.Generator().manual_seed(1)) - mean[:, None]
    torch.testing.assert_close(counts.abs().mean(dim=1)[1:], poisson.abs().mean(dim=1)[1:], rtol=0.2, atol=0.15)


def pil_jpeg(pixels: torch.Tensor, quality: int) -> torch.Tensor:
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


@pytest.mark.parametrize("quality", [30, 45, 60, 75, 90, 95])
def test_the_arithmetic_is_libjpegs(quality: int) -> None:
    """Test pictures whose sides are no multiples of a block, and white noise, the worst case."""
    pixels = torch.cat([drawn_faces(2, 101, 83), torch.randint(256, (1, 3, 101, 83), dtype=torch.uint8)])
    ours = by_arithmetic(pixels / 255, torch.full((3,), quality + 0.7)) * 255
    assert (ours - ours.round()).abs().max() < 1e-3
    for mine, one in zip(ours, pixels, strict=True):
        assert (mine - pil_jpeg(one, quality)).abs().mean() < 1.5
        assert not torch.equal(mine.round().byte(), one)


def test_jpeg_skips_quality_0_and_ignores_the_canvas() -> None:
    pixels = drawn_faces(3, 64, 64) / 255
    size, quality = torch.tensor([[37, 41], [64, 64], [64, 64]]), torch.tensor([50.0, 0.0, 80.0])
    padded = repeat_border(pixels, size)
    for way in (by_libjpeg, by_arithmetic):
        out = way(padded, quality, size)
        alone = way(padded[:1, :, :37, :41].contiguous(), quality[:1])
        torch.testing.assert_close(out[0, :, :37, :41], alone[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(out, repeat_border(out, size), rtol=0, atol=1e-6)
        assert torch.equal(out[1], padded[1])
