"""Scores against NumPy, and against Set5's published scores."""

import math
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.folder import ImageFolder
from srgan_lightning.imaging.ops import resize_bicubic, round_to_8_bits
from srgan_lightning.metrics import psnr_ssim as metrics
from srgan_lightning.metrics.psnr_ssim import PSNRSSIM, luma, psnr_ssim


def test_luma_is_matlabs() -> None:
    """Compare with MATLAB's rgb2ycbcr for white, black, red, green and blue."""
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    expected = [235.0, 16.0, 81.481, 144.553, 40.966]
    assert luma(colours[:, :, None, None]).flatten().tolist() == pytest.approx(expected, abs=1e-3)


def test_luma_is_no_matrix_product() -> None:
    """CUDA may compute matrix products in TF32, whose 10-bit mantissa is too short for scores."""
    with FlopCounterMode(display=False) as products:
        luma(torch.rand(1, 3, 4, 4))
    assert products.get_total_flops() == 0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), border=st.integers(0, 4))
def test_psnr_is_that_of_numpy(seed: int, border: int) -> None:
    rng = np.random.default_rng(seed)
    hr, sr = rng.integers(0, 256, (3, 24, 20)).astype(np.float64), rng.random((3, 24, 20)) * 255
    ours = psnr_ssim(torch.tensor(sr / 255).float()[None], torch.tensor(hr / 255).float()[None], border)[0]
    cut = (slice(None), slice(border, 24 - border), slice(border, 20 - border))
    a, b = np.round(sr)[cut], hr[cut]
    weights = np.array([65.481, 128.553, 24.966]) / 255
    y = np.tensordot(weights, a - b, 1)
    for value, difference in ((ours[0], y), (ours[2], a - b)):
        assert value.item() == pytest.approx(10 * math.log10(255**2 / np.mean(difference**2)), abs=2e-3)


def test_ssim_is_that_of_its_definition() -> None:
    """Compute SSIM (Wang et al. 2004) of an 11x11 patch, which has one window position."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 11, 11)).astype(np.float64)
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(line, line) / line.sum() ** 2
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
    covariance = (window * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    ssim /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    grey = [torch.tensor(x / 255).float().expand(1, 3, 11, 11) for x in (a, b)]
    assert psnr_ssim(grey[0], grey[1], border=0)[0, 3].item() == pytest.approx(ssim, abs=1e-4)


def by_torchmetrics(sr: Tensor, hr: Tensor, border: int) -> Tensor:
    """Compute the scores of whole images in float64: torchmetrics' SSIM map without its reflected border."""
    height, width = hr.shape[-2:]
    inside = (..., slice(border, height - border), slice(border, width - border))
    a, b = ((x * 255).round().double()[inside] for x in (round_to_8_bits(sr), hr))
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64) / 255
    columns = []
    for x, y in ((16 + torch.einsum("bchw,c->bhw", x, weights)[:, None] for x in (a, b)), (a, b)):
        columns.append(peak_signal_noise_ratio(x, y, data_range=255.0, reduction="none", dim=(1, 2, 3)))
        _, ssim = structural_similarity_index_measure(
            x, y, data_range=255.0, sigma=1.5, kernel_size=11, reduction="none", return_full_image=True
        )
        columns.append(ssim[..., 5:-5, 5:-5].mean(dim=(1, 2, 3)))
    return torch.stack(columns, dim=1)


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 2),
    height=st.integers(11, 160),
    width=st.integers(11, 60),
    border=st.integers(0, 8),
    noise=st.sampled_from([0.002, 0.03, 0.3]),
    seed=st.integers(0, 10_000),
    band_pixels=st.sampled_from([1, 2**18]),
)
def test_scores_are_those_of_torchmetrics(
    batch: int, height: int, width: int, border: int, noise: float, seed: int, band_pixels: int
) -> None:
    """Test sizes that are multiples of a band and others, and flat regions, where float32 loses most digits."""
    random = torch.Generator().manual_seed(seed)
    size = (height + 2 * border, width + 2 * border)
    hr = round_to_8_bits(resize_bicubic(torch.rand(batch, 3, 4, 4, generator=random) * 1.5 - 0.25, size))
    sr = hr + noise * torch.randn(hr.shape, generator=random)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "BAND_PIXELS", band_pixels)
        ours = psnr_ssim(sr, hr, border).double()
    theirs = by_torchmetrics(sr, hr, border)
    torch.testing.assert_close(ours[:, 1::2], theirs[:, 1::2], atol=1e-6, rtol=0)
    torch.testing.assert_close(ours[:, ::2], theirs[:, ::2], atol=0, rtol=1e-6)


def test_scoring_takes_little_memory() -> None:
    """Scoring 4 megapixels takes a tenth of what torchmetrics' full map takes for one megapixel."""
    hr = torch.rand(1, 3, 2000, 2000)
    sr = hr.flip(-1)
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 200 * 2**20, before[1]))
    try:
        assert psnr_ssim(sr, hr, 4).isfinite().all()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_an_equal_image_scores_perfectly() -> None:
    image = torch.randint(0, 256, (1, 3, 20, 20)) / 255
    assert psnr_ssim(image, image, 4)[0].tolist() == [math.inf, 1.0, math.inf, 1.0]


def test_scores_are_means_over_images_and_ignore_repeats() -> None:
    hr = torch.randint(0, 256, (3, 3, 32, 32)) / 255
    sr, lr = (hr + 0.1 * torch.randn_like(hr)).clamp(0, 1), resize_bicubic(hr, (8, 8)).clamp(0, 1)
    whole, shares = PSNRSSIM(4), PSNRSSIM(4)
    whole.update(sr, hr, lr, torch.tensor([0, 1, 2]))
    for index in (2, 0, 1, 0):  # another order, and one image twice, as DDP's sampler repeats one
        shares.update(sr[index, None], hr[index, None], lr[index, None], torch.tensor([index]))
    ours, theirs = whole.compute(), shares.compute()
    assert ours.keys() == theirs.keys()
    assert all(ours[name].item() == pytest.approx(theirs[name].item(), abs=1e-5) for name in ours)
    assert ours["psnr_rgb"].item() == pytest.approx(psnr_ssim(sr, hr, 4)[:, 2].mean().item(), abs=1e-5)


def test_too_small_and_unequal_images_are_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        psnr_ssim(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16), 4)
    with pytest.raises(ValueError, match="SR is"):
        psnr_ssim(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 20, 20), 1)


@pytest.mark.parametrize("given_lr", [True, False])
def test_bicubic_on_set5(shared: Callable[[str], Path], given_lr: bool) -> None:
    """Bicubic has 28.43 dB / 0.811, as in published tables."""
    hr_images = ImageFolder(shared("data/Set5/HR"), "hr_dir")
    lr_images = ImageFolder(shared("data/Set5/LR_bicubic_x4"), "lr_dir")
    scores = PSNRSSIM(4)
    for index in range(len(hr_images)):
        hr = hr_images.read(index)[None] / 255
        hr = hr[..., : hr.shape[-2] // 4 * 4, : hr.shape[-1] // 4 * 4]
        lr = lr_images.read(index)[None] / 255 if given_lr else Bicubic(4)(hr, torch.zeros(1))
        scores.update(hr, hr, lr, torch.tensor([index]))
    result = scores.compute()
    assert result["bicubic_psnr_y"].item() == pytest.approx(28.43, abs=0.02)
    assert result["bicubic_ssim_y"].item() == pytest.approx(0.811, abs=0.002)
