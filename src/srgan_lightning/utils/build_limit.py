"""Bounds what building a network may take, where the options that it is built by are a stranger's."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

#: Beside the tensors that a file holds: masks, tables of indices and what is left over on the way.
SPARE_BYTES = 2**28
SPARE_CALLS = 5_000


class TooLargeError(ValueError):
    """A network would take far more than its file holds."""


class BuildLimit(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside this, making tensors raises `TooLargeError` before memory is taken that a file does not account for.

    A file is small, and the network that its names or its metadata describe need not be: one small tensor called
    `body.100000.weight` asks for 100,001 blocks. Where a class can be built on the meta device, that is cheaper; many
    read numbers from tensors while they are built, and cannot.

    Args:
        stored: bytes of the file that holds the weights. Four times as much is made of float16, and as much again is
            for values on the way.
        tensors: that the file holds.
    """

    def __init__(self, stored: int, tensors: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes_left = 8 * stored + SPARE_BYTES
        self.calls_left = 30 * tensors + SPARE_CALLS

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.calls_left -= 1
        if not any(output.alias_info for output in func._schema.returns):  # neither a view nor in place
            self.bytes_left -= self._bytes_made(func, args, kwargs)
        if self.bytes_left < 0 or self.calls_left < 0:
            raise TooLargeError("it describes a network that is far larger than the tensors in it")
        return func(*args, **kwargs)

    def _bytes_made(self, func: Any, args: Any, kwargs: dict[str, Any]) -> int:
        """What a call would make: found on the meta device, which has shapes and no memory."""
        if any(argument.name == "device" for argument in func._schema.arguments):
            kwargs = {**kwargs, "device": "meta"}
        try:
            made = func(*tree_map(_shape_alone, args), **tree_map(_shape_alone, kwargs))
        except (NotImplementedError, RuntimeError, TypeError):  # what reads numbers: it makes none
            return 0
        outputs = made if isinstance(made, tuple | list) else (made,)
        return sum(output.numel() * output.element_size() for output in outputs if isinstance(output, Tensor))


def _shape_alone(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
