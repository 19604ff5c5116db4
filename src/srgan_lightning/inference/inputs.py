"""Find the images of files, folders and globs that the user gives, and the file for each result."""

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
    """One image to upscale, and the file for its result."""

    source: Path
    target: Path


def list_jobs(inputs: Sequence[str], out: Path, suffix: str, form: str) -> list[Job]:
    """List images to upscale and files for their results, in the given order; results keep subfolders.

    Args:
        inputs: files, folders (searched recursively for image files) and globs.
        out: a folder. For a single input file, it may also be an image file, recognised by its suffix.
        suffix: appended to the stem of each name, such as `_x4`.
        form: `same` for the format of each input, or one format for all results, such as `png`. With `same`,
            results are PNG if the input's format cannot be written.

    Raises:
        UserError: an input does not exist or has no images, two results would have the same name, a result would
            replace an input, or `out` has an unknown suffix or does not fit the inputs or `form`.
    """
    to_file = out.suffix.lower() in FORMATS and not out.is_dir()
    # A suffix of three to five characters, such as .gif, means a file; `run.2` and `my.photos` are folders.
    if re.fullmatch(r"\.[a-z]\w{2,4}", out.suffix.lower()) and not to_file and not out.is_dir():
        raise UserError(
            f"-o {out}: {out.suffix} is not a format that can be written: use {', '.join(FORMATS)}. If {out} is a "
            "folder, create it first."
        )
    if to_file:
        if len(inputs) != 1 or not os.path.isfile(inputs[0]):
            raise UserError(f"-o {out} is a file, but the input is not a single existing file: give a folder with -o.")
        if form != "same" and FORMATS[out.suffix.lower()] is not FORMATS[f".{form}"]:
            raise UserError(f"-o {out} and --format {form} contradict each other: remove one of them.")
        jobs = [Job(Path(inputs[0]), out)]
    elif os.path.lexists(out) and not out.is_dir():
        raise UserError(f"-o {out} is a file: give a folder, or remove the file.")
    else:
        found = dict.fromkeys(pair for text in inputs for pair in _find(text, out))  # without duplicates, in order
        jobs = [Job(source, _target(source, out / folder, suffix, form)) for source, folder in found]
    _check_disjoint(jobs)
    return jobs


def _check_disjoint(jobs: Sequence[Job]) -> None:
    """Raise UserError if two results are the same file, or a result is the input of any job."""
    inputs = {job.source.resolve(): job.source for job in jobs}
    results: dict[Path, Path] = {}
    for job in jobs:
        target = job.target.resolve()
        if target == job.source.resolve():
            raise UserError(f"{job.source} would be replaced by its own result: give another folder or name with -o.")
        if target in inputs:
            raise UserError(
                f"{inputs[target]} is an input, and the result of {job.source} would replace it: give another "
                "folder with -o."
            )
        if target in results:
            raise UserError(
                f"{results[target]} and {job.source} would both be written to {job.target}: use different folders, or "
                "--format same."
            )
        results[target] = job.source


def without_done(jobs: Sequence[Job], resume: bool, overwrite: bool, fingerprint: str) -> tuple[list[Job], set[Path]]:
    """Remove the jobs that an earlier run has finished.

    Args:
        jobs: all jobs.
        resume: skip jobs with existing results, unless other weights or options made them.
        overwrite: replace existing results; with `resume`, only those that are not recorded as made with `fingerprint`.
        fingerprint: fingerprint of the upscaler.

    Returns:
        The remaining jobs, and the existing results that they replace.

    Raises:
        UserError: there are results that may be neither skipped nor replaced.
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
                f"{what} exist already, made with other weights or options: replace them with --resume --overwrite, "
                "or give another folder with -o."
            )
        raise UserError(
            f"{what} exist already: skip them with --resume, replace them with --overwrite, or give another folder "
            "with -o."
        )
    return [job for job in jobs if job.target not in done], replaced


def _find(text: str, out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the image files of one input, each with the folder below `out` for its result."""
    path = Path(text)
    if os.path.isfile(text):
        yield path, Path()
    elif os.path.isdir(text):
        if path.resolve() == out.resolve():
            raise UserError(
                f"-o {out} is also an input: give another folder. Otherwise results would be inputs next time."
            )
        results = out.resolve()
        images = (file for file in files_below(path) if file.suffix.lower() in FORMATS)
        inside = [file for file in images if results not in file.resolve().parents]
        if not inside:
            raise UserError(f"{path.absolute()} has no image files ({', '.join(FORMATS)}) in it or below.")
        yield from ((file, file.parent.relative_to(path)) for file in inside)
    else:
        matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]
        if not matches:
            raise UserError(f"{text}: no such file or folder (looked in {Path.cwd()}), and no match as a glob.")
        files = [match for match in matches if os.path.isfile(match) and match.suffix.lower() in FORMATS]
        if not files:
            raise UserError(f"{text} matches no image files ({', '.join(FORMATS)}).")
        yield from ((file, Path()) for file in files)


def _target(source: Path, folder: Path, suffix: str, form: str) -> Path:
    ending = source.suffix if source.suffix.lower() in FORMATS else ".png"
    return folder / f"{source.stem}{suffix}{ending if form == 'same' else f'.{form}'}"
