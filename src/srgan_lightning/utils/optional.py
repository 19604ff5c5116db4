"""Packages that only some commands need."""

from collections.abc import Iterator
from contextlib import contextmanager

from srgan_lightning.utils.errors import UserError


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Import optional packages inside this; one that is missing becomes a UserError that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"This needs the package {error.name}, which is not installed: pip install '.[{name}]' in the checkout of "
            "srgan-lightning."
        ) from error
