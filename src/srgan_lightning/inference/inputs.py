"""From what a user names to what is read and written: files, folders and globs, and a place for each result."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan_lightning.imaging.files import FORMATS
from srgan_lightning.imaging.reading import files_below
from srgan_lightning.inference.record import read_records
from srgan_lightning.utils.errors import UserError


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
        UserError: an input is not there, two results would have one name, a result would replace an input, or `out`
            is a file or ends as no file that can be written.
    """
    to_file = out.suffix.lower() in FORMATS and not out.is_dir()
    # Three to five characters behind the dot, such as .gif, are meant for a file; those of `run.2` and `my.photos` not.
    if re.fullmatch(r"\.[a-z]\w{2,4}", out.suffix.lower()) and not to_file and not out.is_dir():
        raise UserError(
            f"-o {out}: {out.suffix} is no format that can be written; there are {', '.join(FORMATS)}. If a folder is "
            "meant, make it first."
        )
    if to_file:
        if len(inputs) != 1 or not os.path.isfile(inputs[0]):
            raise UserError(f"-o {out} names one file, the input is more: name a folder.")
        if form != "same" and FORMATS[out.suffix.lower()] is not FORMATS[f".{form}"]:
            raise UserError(f"-o {out} and --format {form} contradict each other: leave one of them out.")
        jobs = [Job(Path(inputs[0]), out)]
    elif os.path.lexists(out) and not out.is_dir():
        raise UserError(f"-o {out} is a file: name a folder, or remove the file.")
    else:
        found = dict.fromkeys(pair for text in inputs for pair in _find(text, out))  # each once, in order
        jobs = [Job(source, _target(source, out / folder, suffix, form)) for source, folder in found]
    _check_disjoint(jobs)
    return jobs


def _check_disjoint(jobs: Sequence[Job]) -> None:
    """Raise UserError if two results are one file, or a result is an input, of whichever job."""
    inputs = {job.source.resolve(): job.source for job in jobs}
    results: dict[Path, Path] = {}
    for job in jobs:
        target = job.target.resolve()
        if target == job.source.resolve():
            raise UserError(f"{job.source} would be replaced by its own result: choose another folder or name with -o.")
        if target in inputs:
            raise UserError(
                f"{inputs[target]} is an input, and the result of {job.source} would replace it: choose another "
                "folder with -o."
            )
        if target in results:
            raise UserError(
                f"{results[target]} and {job.source} would both be written to {job.target}: upscale them into "
                "different folders, or with --format same."
            )
        results[target] = job.source


def without_done(jobs: Sequence[Job], resume: bool, overwrite: bool, fingerprint: str) -> tuple[list[Job], set[Path]]:
    """Leave out what a resumed run has done already.

    Args:
        jobs: all of them.
        resume: results that are there stay, unless other weights or options made them.
        overwrite: results that are there are replaced; with `resume`, those that `fingerprint` is not known to have
            made.
        fingerprint: of the upscaler.

    Returns:
        The others, and the results that they replace.

    Raises:
        UserError: there are results that are neither left out nor may be replaced.
    """
    there = {job.target for job in jobs if os.path.lexists(job.target)}
    made_by = read_records(there) if resume else {}
    if resume:
        done = {target for target in there if made_by.get(target, None if overwrite else fingerprint) == fingerprint}
    else:
        done = set()
    replaced = there - done
    if replaced and not overwrite:
        what = f"{len(replaced)} of {len(jobs)} results, such as {min(replaced)},"
        if resume:
            raise UserError(
                f"{what} are there already, made with other weights or options: --resume --overwrite makes these anew; "
                "or name another folder with -o."
            )
        raise UserError(
            f"{what} are there already: skip them with --resume, replace them with --overwrite, or name another folder "
            "with -o."
        )
    return [job for job in jobs if job.target not in done], replaced


def _find(text: str, out: Path) -> Iterator[tuple[Path, Path]]:
    """Image files that one input means, each with the folder below `out` that it goes to."""
    path = Path(text)
    if os.path.isfile(text):
        yield path, Path()
    elif os.path.isdir(text):
        if path.resolve() == out.resolve():
            raise UserError(
                f"-o {out} is also an input: name another folder, or its results are taken for photos next time."
            )
        results = out.resolve()
        images = (file for file in files_below(path) if file.suffix.lower() in FORMATS)
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
        files = [match for match in matches if os.path.isfile(match) and match.suffix.lower() in FORMATS]
        if not files:
            raise UserError(f"{text}: no image files ({', '.join(FORMATS)}) are named so.")
        yield from ((file, Path()) for file in files)


def _target(source: Path, folder: Path, suffix: str, form: str) -> Path:
    ending = source.suffix if source.suffix.lower() in FORMATS else ".png"
    return folder / f"{source.stem}{suffix}{ending if form == 'same' else f'.{form}'}"
