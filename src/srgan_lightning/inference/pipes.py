"""Read and write pictures through pipes (`-`), with files in a temporary folder."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from srgan_lightning.imaging.files import FORMATS
from srgan_lightning.imaging.reading import opened
from srgan_lightning.utils.errors import UserError

PIPE = "-"
MAX_BYTES = 2**30  # limit of a piped file; every picture that can be read is smaller
#: The suffix of each format, by PIL's name. `reversed` makes it .jpg, not .jpeg.
SUFFIXES = {form.name: suffix for suffix, form in reversed(FORMATS.items())}


@dataclass(frozen=True)
class PipedFiles:
    """Inputs and output with files instead of pipes.

    Args:
        inputs: the user's inputs, with a file instead of `-`.
        output: the user's output, with a file instead of `-`.
    """

    inputs: list[str]
    output: Path

    def shown(self, text: str) -> str:
        """Replace the files of pipes in a message by the names of the pipes."""
        for path, name in ((self.inputs[0], "standard input"), (str(self.output), "standard output")):
            if "srgan-pipe-" in path:
                text = text.replace(path, name)
        return text


@contextmanager
def piped(inputs: Sequence[str], output: Path, form: str) -> Iterator[PipedFiles]:
    """Replace `-` by files, and write the output file to standard output at the end of the `with`.

    If a picture goes to standard output, all other output of the program goes to standard error.

    Args:
        inputs: the user's inputs; if `-` is used, only one is allowed.
        output: the user's output.
        form: `same`, or the format of the result.

    Raises:
        UserError: a pipe is a terminal, is closed, or holds no picture or more than `MAX_BYTES`; or there are several
            inputs.
    """
    if PIPE not in (*inputs, str(output)):
        yield PipedFiles(list(inputs), output)
        return
    if len(inputs) > 1:
        raise UserError(f"A pipe holds one picture: with {PIPE}, give exactly one input.")
    with TemporaryDirectory(prefix="srgan-pipe-") as folder:
        if inputs[0] == PIPE:
            inputs = [str(_receive(Path(folder)))]
        if str(output) != PIPE:
            yield PipedFiles(list(inputs), output)
            return
        to = sys.stdout
        if to is None:  # its descriptor is closed
            raise UserError(f"-o {PIPE} writes a picture to standard output, which is closed: open it, or give a file.")
        if to.isatty():
            raise UserError(f"-o {PIPE} writes a picture to standard output, which is a terminal: redirect the output.")
        suffix = Path(inputs[0]).suffix.lower() if form == "same" else f".{form}"
        result = Path(folder) / f"result{suffix if suffix in FORMATS else '.png'}"
        with redirect_stdout(sys.stderr):
            yield PipedFiles(list(inputs), result)
        if result.exists():
            _send(result, to.buffer)


def _receive(folder: Path) -> Path:
    """Write standard input to a file with the suffix of its format."""
    if sys.stdin is None:  # its descriptor is closed
        raise UserError(
            f"{PIPE} reads a picture from standard input, which is closed: pipe a picture in, or give a file."
        )
    if sys.stdin.isatty():
        raise UserError(
            f"{PIPE} reads a picture from standard input, which is a terminal: pipe a picture in, or give a file."
        )
    received = folder / "stdin"
    with received.open("wb") as file:
        while piece := sys.stdin.buffer.read(2**20):
            if file.tell() + len(piece) > MAX_BYTES:
                raise UserError(f"Standard input is larger than {MAX_BYTES // 2**20} MB, the limit for a picture.")
            file.write(piece)
    with opened(received, "Standard input") as image:
        suffix = SUFFIXES.get(str(image.format), ".png")
    return received.rename(received.with_suffix(suffix))


def _send(result: Path, to: IO[bytes]) -> None:
    try:
        with result.open("rb") as file:
            shutil.copyfileobj(file, to)
        to.flush()
    except OSError as error:
        raise UserError(f"The picture cannot be written to standard output: {error.strerror or error}.") from error
