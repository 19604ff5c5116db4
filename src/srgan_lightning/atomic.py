"""Files that are whole or absent, whatever happens while they are written."""

import os
from pathlib import Path


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file so that a kill, a power cut or a full disk leaves what was there before.

    Args:
        path: the file; its folder must be there.
        data: all of its bytes.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; names the file.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")  # the same folder: a rename across disks copies
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name itself
        finally:
            os.close(folder)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(folder: str | Path) -> None:
    """Remove what killed writers left in a folder that nobody else writes to."""
    for path in Path(folder).rglob(".*.partial"):
        path.unlink(missing_ok=True)
