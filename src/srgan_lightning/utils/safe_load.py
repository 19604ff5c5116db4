"""Read files of `torch.save` from untrusted sources."""

import mmap
import zipfile
from pathlib import Path
from typing import Any

import torch

from srgan_lightning.utils.pickle_scan import scan_pickle

ZIP = b"PK\3\4"
#: Number of pickles at the start of a file from before PyTorch 1.6. They hold a magic number, the format's version,
#: system information, the saved object, and the keys of the storages.
LEGACY_PICKLES = 5


def safe_torch_load(path: str | Path) -> Any:
    """Load tensors and plain values from a file, onto the CPU.

    No code from the file runs, and loading takes at most a few times the file's size in memory.

    Raises:
        Exception: many types, if the file is damaged or hostile.
    """
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[: len(ZIP)] == ZIP:  # torch.load tests the same bytes
            with zipfile.ZipFile(path) as archive:
                # torch never compresses, but would unpack compressed members of any size.
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise ValueError("it is compressed, and may be a decompression bomb")
            # Read by torch's own reader, so that the scanned pickle is the one that is loaded.
            scan_pickle(torch._C.PyTorchFileReader(str(path)).get_record("data.pkl"), len(content))
        else:
            for _ in range(LEGACY_PICKLES):
                scan_pickle(content, len(content))  # type: ignore[arg-type]  # mmap has read and readline
    return torch.load(path, map_location="cpu", weights_only=True)
