"""Limit the memory for building a network whose options come from an untrusted file."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

#: Bytes and calls allowed beyond those for the file's tensors, such as for masks, index tables and temporary values.
SPARE_BYTES = 2**28
SPARE_CALLS = 5_000


class TooLargeError(ValueError):
    """A network would need far more memory than its file accounts for."""


class BuildLimit(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raise `TooLargeError` before the `with` block allocates far more tensors than the file holds.

    A small file can describe a huge network by its tensor names or metadata: one small tensor called
    `body.100000.weight` asks for 100,001 blocks. Building on the meta device would be cheaper, but many classes cannot
    be built there, because their constructors read numbers from tensors.

    Args:
        stored: size of the weights file in bytes. The limit is 8 times that. A float16 file needs 4 times its size for
            initial values and weights in float32; the other 4 times are for temporary values.
        tensors: number of tensors in the file.
    """

    def __init__(self, stored: int, tensors: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes_left = 8 * stored + SPARE_BYTES
        self.calls_left = 30 * tensors + SPARE_CALLS

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.calls_left -= 1
        if not any(output.alias_info for output in func._schema.returns):  # neither a view nor an in-place call
            self.bytes_left -= self._bytes_made(func, args, kwargs)
        if self.bytes_left < 0 or self.calls_left < 0:
            raise TooLargeError("it describes a network that is far larger than the tensors in it")
        return func(*args, **kwargs)

    def _bytes_made(self, func: Any, args: Any, kwargs: dict[str, Any]) -> int:
        """Return the bytes of a call's outputs, computed on the meta device, which has shapes and no memory."""
        if any(argument.name == "device" for argument in func._schema.arguments):
            kwargs = {**kwargs, "device": "meta"}
        try:
            made = func(*tree_map(_shape_alone, args), **tree_map(_shape_alone, kwargs))
        except (NotImplementedError, RuntimeError, TypeError):  # such a call reads numbers and creates no tensor
            return 0
        outputs = made if isinstance(made, tuple | list) else (made,)
        return sum(output.numel() * output.element_size() for output in outputs if isinstance(output, Tensor))


def _shape_alone(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
