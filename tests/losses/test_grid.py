"""The grid term against spectra, and its effect on a network that produces a grid."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from srgan_lightning.losses import GeneratorLoss
from srgan_lightning.losses.grid import grid_error


def repeated(pattern: Tensor, cells: int) -> Tensor:
    """Return (1, 3, side, side) with that many periods along each side."""
    return pattern.repeat(cells, cells).expand(1, 3, -1, -1)


@pytest.mark.parametrize("period", [2, 4, 8])
def test_it_is_the_energy_at_the_frequencies_of_the_lr_grid(period: int) -> None:
    hr, error = torch.rand(2, 3, 6 * period, 6 * period), 0.1 * torch.randn(2, 3, 6 * period, 6 * period)
    spectrum = torch.fft.fft2(error.double(), norm="forward").abs().square()[..., ::6, ::6]
    spectrum[..., 0, 0] = 0  # the mean is a colour shift, not a grid
    expected = spectrum.sum((-2, -1)).mean()
    torch.testing.assert_close(grid_error(hr + error, hr, period), expected.float(), rtol=1e-3, atol=0)


def test_the_term_is_the_variance_of_a_grid_and_0_for_hrs_own_pattern() -> None:
    pattern = torch.rand(4, 4)
    dots = repeated(pattern, 24)
    hr = torch.rand(1, 3, 96, 96)
    torch.testing.assert_close(grid_error(hr + dots, hr, 4), pattern.var(correction=0))
    assert grid_error(dots, dots, 4) == 0
    assert grid_error(dots + 0.3, dots, 4) < 1e-12


def test_a_grid_that_changes_its_sign_from_window_to_window_counts() -> None:
    pattern = torch.rand(4, 4)
    pattern -= pattern.mean()
    sign = torch.ones(96, 96)
    sign[:48] = -1
    torch.testing.assert_close(
        grid_error(repeated(pattern, 24) * sign, torch.zeros(1, 3, 96, 96), 4), pattern.square().mean()
    )


@pytest.mark.parametrize(("height", "width"), [(4, 5), (20, 22), (50, 97)])
def test_any_size_that_holds_one_period(height: int, width: int) -> None:
    pattern = torch.rand(4, 4)
    sr = repeated(pattern, 25)[..., :height, :width]
    torch.testing.assert_close(grid_error(sr, torch.zeros_like(sr), 4), pattern.var(correction=0))


def test_it_removes_the_grid_of_a_network_trained_for_texture() -> None:
    """Learn one value per sub-pixel of a flat image, with a loss that asks for as much detail as in HR."""
    torch.manual_seed(0)
    hr = 0.5 + 0.05 * torch.randn(4, 3, 48, 48)

    def train(grid: float) -> float:
        torch.manual_seed(0)
        phases = (0.01 * torch.randn(3 * 16, 1, 1)).requires_grad_()
        optimiser = torch.optim.Adam([phases], lr=1e-2)
        loss = GeneratorLoss(pixel=0.1, perceptual=0, adversarial=0, grid=grid)
        for _ in range(100):
            sr = 0.5 + F.pixel_shuffle(phases.expand(4, -1, 12, 12), 4)
            texture = (sr.std((-2, -1)) - hr.std((-2, -1))).square().mean()
            optimiser.zero_grad()
            (loss(sr, hr)[0] + texture).backward()
            optimiser.step()
        return float(phases.detach().view(3, 16).std(1).mean())

    assert train(0) > 0.03
    assert train(10) < 0.01
