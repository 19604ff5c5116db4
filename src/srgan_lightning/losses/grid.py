"""The grid term: the part of the error that repeats with every LR pixel."""

from torch import Tensor

#: Side of the windows over which the pattern is averaged, in LR pixels.
WINDOW = 6


def grid_error(sr: Tensor, hr: Tensor, period: int) -> Tensor:
    """Return the mean square of the pattern in SR - HR that repeats every `period` pixels, for (B, C, H, W); a scalar.

    In a flat region all LR pixels have the same surroundings, so a convolutional generator draws the same pattern for
    each of them. Texture that the perceptual or adversarial term rewards therefore appears as a grid in flat regions.
    The pattern is averaged over windows of 6 x 6 LR pixels, in which details of the photo cancel and a grid does not.
    The windows start at the top left. The rest of the image at the right and bottom, narrower than a window,
    is ignored. An image narrower than a window gets a smaller window.

    Args:
        sr: image with gradient; each side is at least `period`.
        hr: the original image.
        period: HR pixels per LR pixel, the scale.
    """
    cells = [min(WINDOW, side // period) for side in sr.shape[-2:]]  # sides of a window in LR pixels
    windows = [side // (count * period) for side, count in zip(sr.shape[-2:], cells, strict=True)]
    height, width = (a * b * period for a, b in zip(windows, cells, strict=True))
    error = (sr.float() - hr.float())[..., :height, :width]  # half precision is too coarse for weak patterns
    cells_of_windows = error.reshape(*error.shape[:2], windows[0], cells[0], period, windows[1], cells[1], period)
    pattern = cells_of_windows.mean((3, 6))  # (B, C, windows down, period, windows across, period)
    squared: Tensor = (pattern - pattern.mean((3, 5), keepdim=True)).square()
    return squared.mean()
