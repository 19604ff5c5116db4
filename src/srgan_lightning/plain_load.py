"""Reading files of `torch.save` that may come from anyone."""

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def load_plain(path: str | Path) -> Any:
    """What a file holds, on the CPU: tensors and plain values. No code of the file is run, and it cannot ask for more
    memory than its own size.

    Raises:
        Exception: of many kinds, if the file is damaged or hostile.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            # torch compresses nothing, but unpacks what others have compressed, however large.
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed, and may be a decompression bomb")
    content = torch.load(path, map_location="cpu", weights_only=True)
    _refuse_claims(content, set())
    return content


def _refuse_claims(value: Any, seen: set[int]) -> None:
    """Raise ValueError for a tensor that repeats its numbers by a stride of 0: whoever copies it allocates them all."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor) and value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ValueError(f"it claims a tensor of {value.numel():,} numbers without holding them")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for child in children:
        _refuse_claims(child, seen)
