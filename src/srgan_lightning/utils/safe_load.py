"""Reading files of `torch.save` that may come from anyone."""

import mmap
import zipfile
from pathlib import Path
from typing import Any

import torch

from srgan_lightning.utils.pickle_scan import scan_pickle

ZIP = b"PK\3\4"
#: Before the storages: a magic number, the version, the system, the object and the storages' keys (before PyTorch 1.6).
LEGACY_PICKLES = 5


def safe_torch_load(path: str | Path) -> Any:
    """What a file holds, on the CPU: tensors and plain values. No code of the file is run, and it cannot ask for more
    memory than some times its own size.

    Raises:
        Exception: of many kinds, if the file is damaged or hostile.
    """
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[: len(ZIP)] == ZIP:  # as torch.load decides it
            with zipfile.ZipFile(path) as archive:
                # torch compresses nothing, but unpacks what others have compressed, however large.
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise ValueError("it is compressed, and may be a decompression bomb")
            # By torch's own reader: what is scanned is what is loaded.
            scan_pickle(torch._C.PyTorchFileReader(str(path)).get_record("data.pkl"), len(content))
        else:
            for _ in range(LEGACY_PICKLES):
                scan_pickle(content, len(content))  # type: ignore[arg-type]  # it reads and reads lines
    return torch.load(path, map_location="cpu", weights_only=True)
