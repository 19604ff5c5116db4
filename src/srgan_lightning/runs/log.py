"""Write messages of a run to the terminal and, with a time stamp, to `train.log` in the run directory."""

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
    """A handler that writes to the current `sys.stdout`, which a notebook or a test may have replaced."""

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
#: Buffers the messages of a run until its directory is locked.
_WAITING = MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL + 1)
LOG.addHandler(_WAITING)


@contextmanager
def keep_log(path: Path) -> Iterator[None]:
    """Append all messages to a file, including those buffered since the last run."""
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("[%(asctime)s] %(message)s"))
    _WAITING.setTarget(file)
    _WAITING.flush()
    _WAITING.flushLevel = logging.NOTSET  # no more buffering
    try:
        yield
    finally:
        _WAITING.flushLevel = logging.CRITICAL + 1
        _WAITING.setTarget(None)
        file.close()


def forget() -> None:
    """Drop the buffered messages of an earlier run whose directory was never locked."""
    _WAITING.buffer.clear()


def report(text: RenderableType) -> None:
    """Report a table or another rich renderable, at the width of the terminal, without colours."""
    console = Console(file=io.StringIO(), width=Console().width, no_color=True, highlight=False)
    console.print(text)
    LOG.info(console.file.getvalue().rstrip("\n"))  # type: ignore[attr-defined]
