"""Build generators of the user's own classes. A class that is named only by a file is never called."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from torch import Tensor, nn

from srgan_lightning.networks.contract import SRModule, validate_generator
from srgan_lightning.utils.build_limit import BuildLimit
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.local_modules import with_working_directory

#: Classes that the user has named in this process, as `module.Class`.
_allowed: set[str] = set()


def allow_architectures(names: str | Iterable[str] | None) -> None:
    """Allow files to name these classes, until this process ends.

    Args:
        names: one or several classes as `module.Class`.
    """
    _allowed.update([names] if isinstance(names, str) else names or ())


def build_own(architecture: str, arguments: Any, tensors: dict[str, Tensor], path: Path) -> SRModule:
    """Build a generator of a class outside this package.

    Args:
        architecture: the class named in the file.
        arguments: constructor arguments from the file.
        tensors: the weights from the file.
        path: the file; its size limits the memory for building.

    Raises:
        UserError: the user has not named the class, the class cannot be imported or is not a generator, or the tensors
            do not fit.
    """
    if architecture not in _allowed:
        raise UserError(
            f"{path} holds a network of the class {architecture}, which is not part of this package. For safety, a "
            f"file cannot choose the class. If the class is yours, add --architecture {architecture}; for "
            f"evaluate, architecture={architecture}."
        )
    try:
        with with_working_directory():
            kind = get_class(architecture)
    except Exception as error:  # the user's module may raise anything
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"--architecture {architecture} cannot be imported: {reason}. Give module.Class, with the module in the "
            "working directory or installed."
        ) from error
    if not issubclass(kind, nn.Module):
        raise UserError(f"--architecture {architecture} is not a torch.nn.Module: give the class of a generator.")
    try:
        # A file must not make the program allocate more memory than its tensors need.
        with BuildLimit(path.stat().st_size, len(tensors)):
            generator = kind(**arguments)
        generator.load_state_dict(tensors)
    except Exception as error:  # the user's class may raise anything
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise UserError(f"{path} does not hold the {architecture} that its metadata describe: {reason}") from error
    return validate_generator(generator.float().eval(), str(path))
