"""How scores are written for people: with the same digits in tables, logs, captions and model cards."""

from typing import Final

#: How the names of scores with two decimals begin; all others have four.
TWO_DECIMALS: Final = ("psnr", "bicubic_psnr", "fid", "grid", "hr_grid", "colour_shift")


def format_score(name: str, value: float) -> str:
    """Write a score without its unit.

    Args:
        name: as in `summary.json`, such as psnr_y or bicubic_ssim_y.
        value: the score.
    """
    if name == "vgg" and value >= 100:  # of weights whose features are not of unit size
        return f"{value:,.0f}"
    return f"{value:.2f}" if name.startswith(TWO_DECIMALS) else f"{value:.4f}"
