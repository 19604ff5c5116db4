"""Winograd's algorithm in the frozen convolutions of VGG."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from srgan_lightning.losses import winograd
from srgan_lightning.losses.vgg_features import VGGFeatures
from srgan_lightning.losses.winograd import FrozenConv3x3


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Use the algorithm on any CPU; return the shapes of the inputs it is called with."""
    calls: list[tuple[int, ...]] = []
    convolve = winograd.convolve
    monkeypatch.setattr(winograd, "_pays", lambda: True)
    monkeypatch.setattr(winograd, "convolve", lambda x, *rest: calls.append(tuple(x.shape)) or convolve(x, *rest))
    return calls


def frozen(channels_in: int = 128, channels_out: int = 256) -> FrozenConv3x3:
    torch.manual_seed(0)
    return FrozenConv3x3.share(nn.Conv2d(channels_in, channels_out, 3, padding=1).requires_grad_(False))


def run(layer: nn.Module, x: Tensor, upstream: Tensor, autocast: bool = True) -> tuple[Tensor, Tensor]:
    """Return a layer's output and the gradient of its input."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
        y = layer(x)
    y.backward(upstream.to(y.dtype))
    assert x.grad is not None
    return y.detach(), x.grad


def relative(x: Tensor, exact: Tensor) -> float:
    return float((x.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(3, 128, 26, 10), (1, 128, 2, 2), (5, 128, 24, 24), (2, 128, 70, 90)])
def test_it_is_a_convolution(fast: list[tuple[int, ...]], shape: tuple[int, ...], format: torch.memory_format) -> None:
    layer = frozen()
    x = torch.randn(shape).bfloat16().to(memory_format=format)
    upstream = torch.randn(shape[0], 256, *shape[2:]).bfloat16()
    y, gradient = run(layer, x, upstream)
    assert fast == [shape, tuple(upstream.shape)]
    exact = nn.Conv2d(128, 256, 3, padding=1).double()
    exact.load_state_dict(layer.state_dict())
    expected, expected_gradient = run(exact, x.double(), upstream.double(), autocast=False)
    assert relative(y, expected) < 0.008
    assert relative(gradient, expected_gradient) < 0.008
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("change", "shape", "channels", "dtype"),
    [
        ("float32", (1, 128, 4, 4), (128, 256), torch.float32),
        ("odd side", (1, 128, 4, 5), (128, 256), torch.bfloat16),
        ("few channels", (1, 64, 4, 4), (64, 256), torch.bfloat16),
        ("trainable", (1, 128, 4, 4), (128, 256), torch.bfloat16),
        ("slower here", (1, 128, 4, 4), (128, 256), torch.bfloat16),
    ],
)
def test_elsewhere_it_is_torchs_convolution(
    fast: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    shape: tuple[int, ...],
    channels: tuple[int, int],
    dtype: torch.dtype,
) -> None:
    layer, x = frozen(*channels), torch.randn(shape).to(dtype)
    if change == "trainable":
        layer.requires_grad_(True)
    if change == "slower here":
        monkeypatch.setattr(winograd, "_pays", lambda: False)
    upstream = torch.randn(shape[0], channels[1], *shape[2:])
    plain = nn.Conv2d(*channels, 3, padding=1)
    plain.load_state_dict(layer.state_dict())
    autocast = dtype == torch.bfloat16
    for ours, theirs in zip(run(layer, x, upstream, autocast), run(plain, x, upstream, autocast), strict=True):
        assert torch.equal(ours, theirs)
    assert not fast


@pytest.mark.parametrize(("amx", "expected"), [(False, True), (True, False)])
def test_it_pays_without_amx(monkeypatch: pytest.MonkeyPatch, amx: bool, expected: bool) -> None:
    monkeypatch.setattr(winograd, "cpu_capabilities", lambda: {"avx512_bf16": True, "amx_bf16": amx})
    winograd._pays.cache_clear()
    try:
        assert winograd._pays() == expected
    finally:
        winograd._pays.cache_clear()


def test_new_weights_are_transformed(fast: list[tuple[int, ...]]) -> None:
    layer, x, upstream = frozen(), torch.randn(1, 128, 4, 4).bfloat16(), torch.randn(1, 256, 4, 4)
    before, _ = run(layer, x, upstream)
    layer.load_state_dict({name: 2 * tensor for name, tensor in layer.state_dict().items()})
    after, _ = run(layer, x, upstream)
    assert torch.equal(after, 2 * before)


def test_other_weights_at_the_same_address_are_transformed(fast: list[tuple[int, ...]]) -> None:
    layer, x = frozen(), torch.randn(1, 128, 4, 4).bfloat16()
    initial = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        before = layer(x)
        for factor in (1, 2, 4, 8):
            for _ in range(2):  # the first replacement frees the memory of the weights that the layer last used
                layer.load_state_dict({name: factor * tensor for name, tensor in initial.items()}, assign=True)
            layer.requires_grad_(False)
            assert torch.equal(layer(x), factor * before)


def test_weights_are_rounded_once(fast: list[tuple[int, ...]]) -> None:
    outside, inside = frozen(), frozen()
    expected = outside._transformed_weights()
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, inside._transformed_weights(), expected))


def test_inference_before_training(fast: list[tuple[int, ...]]) -> None:
    """Validation runs in inference mode, whose tensors autograd refuses to save."""
    layer, x, upstream = frozen(), torch.randn(1, 128, 4, 4).bfloat16(), torch.randn(1, 256, 4, 4)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = layer(x)
        assert not fast[1:]
        assert torch.allclose(frozen()(x), expected, atol=0.05)  # made in inference mode
    assert len(fast) == 1
    y, _ = run(layer, x, upstream)
    assert torch.equal(y, expected)


def test_vgg_features_are_near_those_of_torchs_convolutions(fast: list[tuple[int, ...]]) -> None:
    torch.manual_seed(0)
    features = VGGFeatures(["conv3_1", "relu4_2"], "random", normalize=True)
    image = torch.rand(2, 3, 48, 48).to(memory_format=torch.channels_last)
    with torch.no_grad():
        exact = [x.double() for x in features.double()(image.double())]
        features.float()
        with torch.autocast("cpu", torch.bfloat16):
            found = features(image)
    assert [shape[1] for shape in fast] == [128, 256, 256, 256, 256, 512]
    for x, expected in zip(found, exact, strict=True):
        assert relative(x, expected) < 0.03
