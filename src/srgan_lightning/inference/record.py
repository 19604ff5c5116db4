"""Which weights and options made the results in a folder: a small file beside them, for `upscale --resume`."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

NAME = ".srgan_upscale.jsonl"  # a line for each result: its name, and the fingerprint of what made it


def add_to_record(result: Path, fingerprint: str) -> None:
    """Note what made a result; processes that share a folder may do so at once.

    Raises:
        OSError: the record cannot be written.
    """
    with result.with_name(NAME).open("a", encoding="ascii") as file:
        file.write(f"{json.dumps([result.name, fingerprint])}\n")


def read_records(results: Iterable[Path]) -> dict[Path, str]:
    """The fingerprint of what made each result, for those that it is known of."""
    known: dict[Path, str] = {}
    for folder in {result.parent for result in results}:
        with suppress(OSError):
            for line in (folder / NAME).read_text(encoding="ascii", errors="replace").splitlines():
                with suppress(
                    ValueError, TypeError, RecursionError
                ):  # a line that was cut by a kill, or written by hand
                    name, fingerprint = json.loads(line)
                    known[folder / str(name)] = str(fingerprint)  # of several, the last holds
    return known
