"""From what a user names to what is read and written: files, folders and globs, and a place for each result."""

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan_lightning.errors import UserError
from srgan_lightning.inference.image_files import FORMATS


@dataclass(frozen=True)
class Job:
    """One image to upscale."""

    source: Path
    target: Path


def list_jobs(inputs: Sequence[str], out: Path, suffix: str, form: str) -> list[Job]:
    """What to read and where to write it, sorted as given; folders keep their inner structure.

    Args:
        inputs: files, folders (searched recursively for image files) and globs.
        out: a folder; or, for a single input file, a file if it ends as an image does.
        suffix: added to each name before its ending, such as `_x4`.
        form: `same`, or the ending of all results, such as `png`; unknown endings become PNG.

    Raises:
        UserError: an input is not there, two results would have one name, or `out` ends as no file that can be written.
    """
    # Three to five characters behind the dot, such as .gif, are meant for a file; those of `run.2` and `my.photos` not.
    if re.fullmatch(r"\.[a-z]\w{2,4}", out.suffix.lower()) and out.suffix.lower() not in FORMATS and not out.is_dir():
        raise UserError(
            f"-o {out}: {out.suffix} is no format that can be written; there are {', '.join(FORMATS)}. If a folder is "
            "meant, make it first."
        )
    if out.suffix.lower() in FORMATS and not out.is_dir():
        if len(inputs) != 1 or not Path(inputs[0]).is_file():
            raise UserError(f"-o {out} names one file, the input is more: name a folder.")
        if form != "same" and FORMATS[out.suffix.lower()] is not FORMATS[f".{form}"]:
            raise UserError(f"-o {out} and --format {form} contradict each other: leave one of them out.")
        jobs = [Job(Path(inputs[0]), out)]
    else:
        found = dict.fromkeys(pair for text in inputs for pair in _find(text, out))  # each once, in order
        jobs = [Job(source, _target(source, out / folder, suffix, form)) for source, folder in found]
    sources: dict[Path, Path] = {}
    for job in jobs:
        if job.target.resolve() == job.source.resolve():
            raise UserError(f"{job.source} would be replaced by its own result: choose another folder or name with -o.")
        if job.target in sources:
            raise UserError(
                f"{sources[job.target]} and {job.source} would both be written to {job.target}: upscale them into "
                "different folders, or with --format same."
            )
        sources[job.target] = job.source
    return jobs


def _find(text: str, out: Path) -> Iterator[tuple[Path, Path]]:
    """Image files that one input means, each with the folder below `out` that it goes to."""
    path = Path(text)
    if path.is_file():
        yield path, Path()
    elif path.is_dir():
        if path.resolve() == out.resolve():
            raise UserError(
                f"-o {out} is also an input: name another folder, or its results are taken for photos next time."
            )
        results = out.resolve()
        images = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in FORMATS and file.is_file())
        inside = [file for file in images if results not in file.resolve().parents]
        if not inside:
            raise UserError(f"{path.absolute()}: no image files ({', '.join(FORMATS)}) in this folder or below.")
        yield from ((file, file.parent.relative_to(path)) for file in inside)
    else:
        matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]
        if not matches:
            raise UserError(
                f"{text}: no such file or folder (looked in {Path.cwd()}), and as a glob it matches nothing."
            )
        yield from ((match, Path()) for match in matches if match.is_file() and match.suffix.lower() in FORMATS)


def _target(source: Path, folder: Path, suffix: str, form: str) -> Path:
    ending = source.suffix if source.suffix.lower() in FORMATS else ".png"
    return folder / f"{source.stem}{suffix}{ending if form == 'same' else f'.{form}'}"
