"""Files that are whole or absent, whatever happens while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file so that a kill, a power cut or a full disk leaves what was there before.

    Args:
        path: the file; its folder must be there.
        data: all of its bytes.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; names the file.
    """
    path = Path(path)
    with replacing(path, f".{path.name}.{os.getpid()}.partial") as file:
        file.write(data)


@contextmanager
def replacing(path: Path, partial_name: str) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` at the end of the `with`, unless that ends in an exception.

    Args:
        path: the file; its folder must be there.
        partial_name: what the file is called until then, in the same folder: a rename across disks copies.

    Raises:
        OSError: see `write_atomically`.
    """
    partial = path.with_name(partial_name)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the new name itself
            finally:
                os.close(folder)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        # Where the file could not be made, removing it fails as well, and would hide the reason.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def remove_partials(folder: str | Path) -> None:
    """Remove what killed writers left in a folder without other writers."""
    for path in Path(folder).rglob(".*.partial"):
        path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a file that an option names, such as `json=`, and the folders it goes into."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")  # not by renaming: it may be /dev/stdout
