"""Import optional packages."""

from collections.abc import Iterator
from contextlib import contextmanager

from srgan_lightning.utils.errors import UserError


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Wrap the import of optional packages: if one is missing, raise a UserError that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"This needs the package {error.name}, which is not installed: pip install '.[{name}]' in the checkout of "
            "srgan-lightning."
        ) from error
