"""What a run reports: on the terminal as it is, and with the time in the run directory's `train.log`."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import TextIO

from rich.console import Console, RenderableType


class _Terminal(logging.StreamHandler[TextIO]):
    """Writes to what is standard output at that moment: a notebook or a test may have replaced it."""

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, _: TextIO) -> None:
        pass


LOG = logging.getLogger("srgan_lightning.run")
LOG.setLevel(logging.INFO)
LOG.propagate = False  # Hydra's handlers would print each line a second time
LOG.addHandler(_Terminal())
#: Holds the lines of a run's start until its directory is locked.
_WAITING = MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL + 1)
LOG.addHandler(_WAITING)


@contextmanager
def keep_log(path: Path) -> Iterator[None]:
    """Append all lines to a file, also those that were reported since the last run."""
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("[%(asctime)s] %(message)s"))
    _WAITING.setTarget(file)
    _WAITING.flush()
    _WAITING.flushLevel = logging.NOTSET  # from here on, at once
    try:
        yield
    finally:
        _WAITING.flushLevel = logging.CRITICAL + 1
        _WAITING.setTarget(None)
        file.close()


def forget() -> None:
    """Drop the lines that wait for a run directory: a new run starts, and the one before got none."""
    _WAITING.buffer.clear()


def report(text: RenderableType) -> None:
    """Report a table or another of rich's renderables, as wide as the terminal, without colours."""
    console = Console(file=io.StringIO(), width=Console().width, no_color=True, highlight=False)
    console.print(text)
    LOG.info(console.file.getvalue().rstrip("\n"))  # type: ignore[attr-defined]
