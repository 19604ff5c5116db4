"""LR against PIL and torchvision."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2.functional import gaussian_blur as torchvision_blur

from srgan_lightning.data.degradation import Bicubic, Blur, gaussian_blur
from srgan_lightning.data.first_order import FirstOrder
from srgan_lightning.data.second_order import SecondOrder
from srgan_lightning.utils.errors import UserError


def test_bicubic_is_pils_antialiased_one() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    expected = np.array(Image.fromarray(pixels).resize((16, 12), Image.Resampling.BICUBIC)).astype(int)
    hr = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    ours = (Bicubic(4)(hr, torch.zeros(1))[0] * 255).permute(1, 2, 0).round().int().numpy()
    assert np.abs(ours - expected).max() <= 1  # PIL rounds between its two passes


@settings(max_examples=20, deadline=None)
@given(sigma=st.floats(0.1, 2.0), side=st.integers(13, 24))
def test_blur_is_torchvisions(sigma: float, side: int) -> None:
    image = torch.rand(2, 3, side, side)
    ours = gaussian_blur(image, torch.tensor([sigma, sigma]), 12)
    torch.testing.assert_close(ours, torchvision_blur(image, [25, 25], [sigma, sigma]), atol=1e-5, rtol=1e-4)


def test_each_image_has_the_sigma_of_its_draw() -> None:
    hr = torch.rand(1, 3, 64, 64).expand(3, -1, -1, -1)
    blur = Blur(4, 25, (0.1, 2.0))
    lr = blur(hr, torch.tensor([0.0, 0.5, 0.999]))
    plain = Bicubic(4)(hr[:1], torch.zeros(1))
    assert torch.equal(lr[0], plain[0])  # a sigma of 0.1 pixels changes nothing
    assert lr[0].std() > lr[1].std() > lr[2].std()
    alone = blur(hr[:1], torch.tensor([0.5]))
    assert torch.equal(alone[0], lr[1])  # independent of the rest of the batch


def test_probability_is_the_share_that_is_blurred() -> None:
    hr = torch.rand(1, 3, 64, 64).expand(4, -1, -1, -1)
    plain = Bicubic(4)(hr, torch.zeros(4))
    lr = Blur(4, 25, (1.0, 2.0), probability=0.5)(hr, torch.tensor([0.1, 0.4, 0.6, 0.9]))
    assert [torch.equal(a, b) for a, b in zip(lr, plain, strict=True)] == [False, False, True, True]


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_is_pils(quality: int) -> None:
    hr = torch.rand(2, 3, 96, 80)
    lr = (Bicubic(4)(hr, torch.zeros(2)) * 255).byte()
    ours = (Bicubic(4, jpeg=(quality, quality))(hr, torch.rand(2)) * 255).round().byte()
    for plain, compressed in zip(lr, ours, strict=True):
        file = io.BytesIO()
        Image.fromarray(plain.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        expected = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
        assert (compressed.int() - expected.int()).abs().max() <= 1
        assert not torch.equal(compressed, plain)


def test_jpeg_depends_only_on_each_images_draw() -> None:
    """Whether JPEG is applied does not depend on whether blur is. The same draw also decides the quality."""
    hr = torch.rand(1, 3, 64, 64).expand(400, -1, -1, -1)
    draws = torch.rand(400)
    arguments = {"kernel": 5, "sigma": (1.0, 1.0), "probability": 0.5}
    plain = Blur(4, **arguments)(hr, draws)
    lr = Blur(4, **arguments, jpeg=(40, 90), jpeg_probability=0.3)(hr, draws)
    compressed = (lr != plain).flatten(1).any(dim=1)
    for share in (compressed[draws < 0.5], compressed[draws >= 0.5]):
        assert 0.2 < share.float().mean() < 0.4
    assert len({image.numpy().tobytes() for image in lr[compressed]}) > 40  # many qualities, blurred or not
    assert torch.equal(Blur(4, **arguments, jpeg=(40, 90), jpeg_probability=0.3)(hr[:5], draws[:5]), lr[:5])


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel": 24},
        {"sigma": (2.0, 0.1)},
        {"sigma": (0.0, 1.0)},
        {"probability": 2},
        {"jpeg": (90, 40)},
        {"jpeg": (0, 40)},
        {"jpeg": (40, 90), "jpeg_probability": -1},
    ],
)
def test_bad_blur_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"degradation\."):
        Blur(4, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Bicubic, Blur, FirstOrder, SecondOrder])
def test_a_gpu_computes_lr_without_tf32(kind: type[Bicubic], monkeypatch: pytest.MonkeyPatch) -> None:
    """Training lets a GPU use TF32. The setting is read on the CPU here."""
    seen, downsample = [], Bicubic.downsample

    def look(self: Bicubic, hr: torch.Tensor) -> torch.Tensor:
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        return downsample(self, hr)

    monkeypatch.setattr(Bicubic, "downsample", look)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        kind()(torch.rand(2, 3, 64, 64), torch.rand(2))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen
    assert {*seen} == {("highest", False)}


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="cannot be divided by scale=4"):
        Bicubic(4)(torch.rand(1, 3, 30, 32), torch.zeros(1))
    with pytest.raises(UserError, match="too small for a blur of 25"):
        Blur(4)(torch.rand(1, 3, 48, 48), torch.zeros(1))
