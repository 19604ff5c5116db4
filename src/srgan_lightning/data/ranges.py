"""Check the options of degradations."""

from collections.abc import Sequence

from srgan_lightning.utils.errors import UserError


def check_range(
    option: str, value: Sequence[float] | None, low: float, high: float, null: bool = True
) -> tuple[float, float] | None:
    """Return a valid range, or None for None; raise UserError otherwise.

    A valid range is two numbers in ascending order, both from `low` to `high`; with `null=False` None is refused.
    """
    if value is None and null:
        return None
    if (
        isinstance(value, str)
        or not isinstance(value, Sequence)
        or len(value) != 2
        or not all(isinstance(number, int | float) for number in value)
        or not low <= value[0] <= value[1] <= high
    ):
        or_null = ", or null" if null else ""
        raise UserError(f"{option}={value}: give two numbers from {low:g} to {high:g}, the lower first{or_null}.")
    return float(value[0]), float(value[1])


def check_share(option: str, value: float) -> float:
    """Return the value if it is a number from 0 to 1; raise UserError otherwise."""
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UserError(f"{option}={value}: give a share between 0 and 1.")
    return float(value)


def check_kernel(option: str, value: int) -> int:
    """Return the value if it is an odd kernel side of at most 101 pixels; raise UserError otherwise."""
    if not isinstance(value, int) or not 1 <= value <= 101 or value % 2 == 0:
        raise UserError(f"{option}={value}: give an odd kernel side from 1 to 101.")
    return value
