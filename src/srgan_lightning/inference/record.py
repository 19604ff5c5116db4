"""Record which weights and options made the results in a folder, for `upscale --resume`."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

NAME = ".srgan_upscale.jsonl"  # one line per result: its name and the upscaler's fingerprint


def add_to_record(result: Path, fingerprint: str) -> None:
    """Record the fingerprint of the upscaler that made a result; several processes may write at once.

    Raises:
        OSError: the record cannot be written.
    """
    with result.with_name(NAME).open("a", encoding="ascii") as file:
        file.write(f"{json.dumps([result.name, fingerprint])}\n")


def read_records(results: Iterable[Path]) -> dict[Path, str]:
    """Return the recorded fingerprints of results; results without a record are left out."""
    known: dict[Path, str] = {}
    for folder in {result.parent for result in results}:
        with suppress(OSError):
            for line in (folder / NAME).read_text(encoding="ascii", errors="replace").splitlines():
                with suppress(ValueError, TypeError, RecursionError):  # a line cut off by a kill, or written by hand
                    name, fingerprint = json.loads(line)
                    known[folder / str(name)] = str(fingerprint)  # the last line of a result counts
    return known
