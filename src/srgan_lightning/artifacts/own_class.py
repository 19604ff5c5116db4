"""Generators of a class of the user's, which the user names: no class is called because a file names it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from torch import Tensor, nn

from srgan_lightning.networks.contract import SRModule, validate_generator
from srgan_lightning.utils.build_limit import BuildLimit
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.local_modules import with_working_directory

#: The classes that the user of this process has named, as `module.Class`.
_allowed: set[str] = set()


def allow_architectures(names: str | Iterable[str] | None) -> None:
    """Let files be built that name these classes, for as long as this process runs.

    Args:
        names: one or several, as `module.Class`.
    """
    _allowed.update([names] if isinstance(names, str) else names or ())


def build_own(architecture: str, arguments: Any, tensors: dict[str, Tensor], path: Path) -> SRModule:
    """Build a generator of a class outside of this package.

    Args:
        architecture: the class, as the file says.
        arguments: what it is called with, as the file says.
        tensors: its weights.
        path: the file, whose size bounds what is built.

    Raises:
        UserError: the user has not named the class, or it cannot be imported, is no generator, or has other weights.
    """
    if architecture not in _allowed:
        raise UserError(
            f"{path} holds a network of the class {architecture}, which is not of this package, and no class is called "
            f"because a file names it. If it is yours, say so: --architecture {architecture}; for "
            f"evaluate, architecture={architecture}."
        )
    try:
        with with_working_directory():
            kind = get_class(architecture)
    except Exception as error:  # whatever the user's module raises
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"--architecture {architecture} cannot be imported: {reason}. Give module.Class, with the module in the "
            "working directory or installed."
        ) from error
    if not issubclass(kind, nn.Module):
        raise UserError(f"--architecture {architecture} is no torch.nn.Module, as a generator is.")
    try:
        # Sizes are only claims until the tensors confirm them: a file must not make us allocate what it does not hold.
        with BuildLimit(path.stat().st_size, len(tensors)):
            generator = kind(**arguments)
        generator.load_state_dict(tensors)
    except Exception as error:  # whatever the user's class raises
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise UserError(f"{path} does not hold the {architecture} that its metadata describe: {reason}") from error
    return validate_generator(generator.float().eval(), str(path))
