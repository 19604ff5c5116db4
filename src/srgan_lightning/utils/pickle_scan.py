"""Scan the opcodes of a pickle from `torch.save` for what it would do, before loading it.

`weights_only` prevents code from running, but does not limit memory: `bytearray(2**31 - 1)` passes it, and so does a
storage of any size in the format before PyTorch 1.6.
"""

import pickletools
from typing import IO, Any, Final, NamedTuple, TypeAlias

import torch

#: Maximum number of opcodes in one pickle, each of which may take 64 bytes of memory. Checkpoints of SRGAN have
#: about 20,000.
MAX_OPCODES: Final = 1_000_000
#: Maximum number of dimensions of a tensor, which is more than any weight has.
MAX_DIMENSIONS: Final = 16

TENSORS: Final = tuple(f"torch._utils _rebuild_tensor{version}" for version in ("", "_v2", "_v3"))
PARAMETERS: Final = ("torch._utils _rebuild_parameter", "torch.nn.parameter Parameter")
CONTAINERS: Final = ("collections OrderedDict", "collections Counter", "__builtin__ set", "builtins set", "torch Size")


class _Name(NamedTuple):
    """A class or function named in the pickle, as `module name`; nothing is imported."""

    name: str


class _Made(NamedTuple):
    """The result of calling a named class or function."""

    name: str


# Values on the simulated stack: a mark, a new object, and an object from the memo.
_MARK, _FRESH, _RECALLED = object(), object(), object()
_Stack: TypeAlias = list[Any]


def scan_pickle(pickle: bytes | IO[bytes], size: int) -> None:
    """Check one pickle in the order in which `torch.load` would run it, without creating any object.

    Args:
        pickle: the bytes, or a file positioned at the start of the pickle, which is left positioned at its end.
        size: size of the whole file in bytes; all storages and tensors must fit into it.

    Raises:
        ValueError: the pickle is damaged, names anything other than tensors and plain containers, or declares more
            numbers than the file has bytes.
    """
    stack: _Stack = []
    memo: dict[Any, Any] = {}
    storages: dict[Any, int] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
        if count == MAX_OPCODES or opcode.proto > 2:
            raise ValueError("its pickle is of another kind than torch.save writes")
        try:
            if opcode.name in ("BINPUT", "LONG_BINPUT"):
                memo[argument] = stack[-1]
            elif opcode.name in ("BINGET", "LONG_BINGET"):
                # Copies of a container could fill the memory, and each takes only a few bytes of the file. So mark
                # objects from the memo: `_call` rejects them as contents of a new container.
                value = memo[argument]
                stack.append(_RECALLED if value is _FRESH or isinstance(value, _Made) else value)
            else:
                _step(opcode, argument, stack, storages, size)
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise ValueError("its pickle is damaged") from error


def _step(opcode: pickletools.OpcodeInfo, argument: Any, stack: _Stack, storages: dict[Any, int], size: int) -> None:
    before, operands = opcode.stack_before, []
    if pickletools.markobject in before:
        mark = len(stack) - 1 - stack[::-1].index(_MARK)
        operands, stack[mark:] = stack[mark + 1 :], []
        before = before[: before.index(pickletools.markobject)]
    operands = [stack.pop() for _ in before][::-1] + operands
    name = opcode.name
    if name == "MARK":
        stack.append(_MARK)
    elif name == "GLOBAL":
        stack.append(_Name(_allowed(argument)))
    elif name in ("REDUCE", "NEWOBJ"):
        stack.append(_call(operands[0], operands[1], storages))
    elif name == "BUILD":
        stack.append(_build(operands[0], operands[1]))
    elif name == "BINPERSID":
        stack.append(_storage(operands[0], storages, size))
    elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
        stack.append(operands[0])
    elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE"):
        stack.append(tuple(operands))
    elif opcode.stack_after:
        stack.append(_FRESH if argument is None else argument)


def _allowed(name: str) -> str:
    module, _, attribute = name.partition(" ")
    storage = module in ("torch", "torch.storage") and attribute.endswith("Storage")
    dtype = module == "torch" and isinstance(getattr(torch, attribute, None), torch.dtype)
    if not (storage or dtype or name in (*TENSORS, *PARAMETERS, *CONTAINERS)):
        raise ValueError(f"it holds {name.replace(' ', '.')[:200]}; only tensors and plain values are allowed")
    return name


def _call(function: _Name, arguments: tuple[Any, ...], storages: dict[Any, int]) -> _Made:
    name = function.name
    if name in TENSORS:
        key, offset, shape, strides = arguments[:4]
        if not 0 <= len(shape) == len(strides) <= MAX_DIMENSIONS or min((0, offset, *shape, *strides)) < 0:
            raise ValueError("it contains a tensor of an impossible shape")
        last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
        numbers = 1
        for length in shape:
            numbers *= length
        if numbers and max(numbers, last + 1) > storages[key]:
            raise ValueError(f"it declares a tensor of {numbers:,} numbers, but does not contain them")
    elif name in CONTAINERS:
        if any(part is not _FRESH and (type(part) is not tuple or len(part) > MAX_DIMENSIONS) for part in arguments):
            raise ValueError(f"it copies a part of itself into {name.partition(' ')[2]}")
    elif name not in PARAMETERS:
        raise ValueError(f"it calls {name.replace(' ', '.')}, which tensors and plain values never need")
    return _Made(name)


def _build(made: Any, state: Any) -> _Made:
    """Allow attributes of containers such as OrderedDict, and the state that early PyTorch gave to parameters."""
    if not isinstance(made, _Made) or not (
        (made.name in CONTAINERS and state is _FRESH)
        or (made.name in PARAMETERS and type(state) is tuple and len(state) == 3)
    ):
        raise ValueError("it sets attributes, which tensors and plain values never need")
    return made


def _storage(identity: tuple[Any, ...], storages: dict[Any, int], size: int) -> Any:
    _, _, key, _, numbers, *view = identity
    storages.setdefault(key, numbers)  # torch creates each storage once
    if view not in ([], [_FRESH]) or numbers < 0 or sum(storages.values()) > size:  # a number takes at least a byte
        raise ValueError(f"it declares a storage of {numbers:,} numbers, which does not fit into the file")
    return key
