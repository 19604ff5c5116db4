"""Pictures through pipes: `-` as an input or an output, by way of files in a folder that is removed afterwards."""

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
MAX_BYTES = 2**30  # of a picture that is piped in; the largest that can be read have less
SUFFIXES = {form.name: suffix for suffix, form in reversed(FORMATS.items())}  # .jpg, not .jpeg


@dataclass(frozen=True)
class PipedFiles:
    """Files in place of pipes.

    Args:
        inputs: what the user named, files in place of `-`.
        output: the same.
    """

    inputs: list[str]
    output: Path

    def shown(self, text: str) -> str:
        """A text for people, with pipes in place of their files."""
        for path, name in ((self.inputs[0], "standard input"), (str(self.output), "standard output")):
            if "srgan-pipe-" in path:
                text = text.replace(path, name)
        return text


@contextmanager
def piped(inputs: Sequence[str], output: Path, form: str) -> Iterator[PipedFiles]:
    """Give files for `-`; at the end of the `with`, what lies in the output's goes to standard output.

    All other output of the program goes to standard error meanwhile, where a picture goes to standard output.

    Args:
        inputs: as given; with `-` anywhere, one alone.
        output: as given.
        form: `same`, or the format of the result.

    Raises:
        UserError: a pipe is a terminal or closed, or holds no picture; there are several inputs.
    """
    if PIPE not in (*inputs, str(output)):
        yield PipedFiles(list(inputs), output)
        return
    if len(inputs) > 1:
        raise UserError(f"A pipe takes one picture: with {PIPE}, give one input and no more.")
    with TemporaryDirectory(prefix="srgan-pipe-") as folder:
        if inputs[0] == PIPE:
            inputs = [str(_receive(Path(folder)))]
        if str(output) != PIPE:
            yield PipedFiles(list(inputs), output)
            return
        to = sys.stdout
        if to.isatty():
            raise UserError(f"-o {PIPE} writes a picture to standard output, which is a terminal: redirect it.")
        suffix = Path(inputs[0]).suffix.lower() if form == "same" else f".{form}"
        result = Path(folder) / f"result{suffix if suffix in FORMATS else '.png'}"
        with redirect_stdout(sys.stderr):
            yield PipedFiles(list(inputs), result)
        if result.exists():
            _send(result, to.buffer)


def _receive(folder: Path) -> Path:
    """Standard input as a file whose ending is that of its format."""
    if sys.stdin.isatty():
        raise UserError(
            f"{PIPE} reads a picture from standard input, which is a terminal: pipe one in, or name a file."
        )
    received = folder / "stdin"
    with received.open("wb") as file:
        while piece := sys.stdin.buffer.read(2**20):
            if file.tell() + len(piece) > MAX_BYTES:
                raise UserError(f"Standard input holds more than {MAX_BYTES // 2**20} MB: no picture has as much.")
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
