"""Format scores with the same number of decimals in tables, logs, captions and model cards."""

from typing import Final

#: Prefixes of scores with two decimals; all others have four, except a large `vgg`, which has none.
TWO_DECIMALS: Final = ("psnr", "bicubic_psnr", "fid", "grid", "hr_grid", "colour_shift")


def format_score(name: str, value: float) -> str:
    """Format a score without its unit.

    Args:
        name: name of the score in `summary.json`, such as psnr_y or bicubic_ssim_y.
        value: the score.
    """
    if name == "vgg" and value >= 100:  # large if the VGG features are not normalised
        return f"{value:,.0f}"
    return f"{value:.2f}" if name.startswith(TWO_DECIMALS) else f"{value:.4f}"
