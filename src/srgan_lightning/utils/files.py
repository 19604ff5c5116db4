"""Write files atomically: an interruption leaves the new file complete, or the state before."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file so that a kill, a power cut or a full disk leaves the previous file unchanged.

    Args:
        path: the file; its folder must exist.
        data: the whole content.

    Raises:
        OSError: the disk is full, or the folder is not writable; the error names the file.
    """
    path = Path(path)
    with replacing(path, f".{path.name}.{os.getpid()}.partial") as file:
        file.write(data)


@contextmanager
def replacing(path: Path, partial_name: str) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` at the end of the `with`, unless an exception is raised inside it.

    Args:
        path: the file; its folder must exist.
        partial_name: name of the new file until then. Both share a folder, because a rename across disks is a copy.

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
                os.fsync(folder)  # saves the new name itself
            finally:
                os.close(folder)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        # If the file could not be created, removing it fails too, and would hide the reason.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def remove_partials(folder: str | Path) -> None:
    """Remove the partial files of killed processes from a folder that no other process writes to."""
    for path in Path(folder).rglob(".*.partial"):
        path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file that an option such as `json=` names, and create its folders."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")  # not atomically, because the path may be /dev/stdout
