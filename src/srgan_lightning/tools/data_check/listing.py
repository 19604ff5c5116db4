"""List the files of a data group that are to be checked, and find problems with their names."""

import io
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from srgan_lightning.data.celeba import (
    IMAGES,
    PARTITION,
    SPLITS,
    CelebAData,
    find_celeba,
    open_zip,
    partition_lines,
    read_line,
    read_member,
)
from srgan_lightning.data.datamodule import Split, SuperResolutionData
from srgan_lightning.data.folder import FolderData, PairedData, pair_key
from srgan_lightning.imaging.reading import SUFFIXES, files_below, find_images
from srgan_lightning.tools.data_check.files import Item
from srgan_lightning.tools.data_check.findings import Finding
from srgan_lightning.utils.errors import UserError

SPLIT_OF = {number: split for split, number in SPLITS.items()}


def list_items(data: SuperResolutionData, stack: ExitStack) -> tuple[list[Item], list[Finding]]:
    """List the files to check, and the findings that need no image to be opened.

    Args:
        data: the data module of a configuration.
        stack: receives the archive from which items are read, and closes it later.

    Raises:
        UserError: a folder is missing, or the group has no files.
    """
    findings: list[Finding] = []
    if isinstance(data, FolderData):
        return list(_folder(data, findings)), findings
    if isinstance(data, PairedData):
        return list(_pairs(data, findings)), findings
    if isinstance(data, CelebAData):
        return list(_celeba(data, findings, stack)), findings
    raise UserError(f"{type(data).__name__} has no files to check: use data=folder, pairs, celeba or celeba_native.")


def _images(folder: str, setting: str, split: Split, findings: list[Finding]) -> list[Path]:
    found = find_images(folder, setting)
    others: dict[str, list[str]] = defaultdict(list)
    for path in files_below(folder):
        if path.suffix.lower() not in SUFFIXES:
            others[path.suffix.lower()].append(str(path))
    for suffix, paths in sorted(others.items()):
        findings.append(Finding("ignored", split, tuple(paths), f"{len(paths)} {suffix or 'without ending'}"))
    return found


def _scale(data: SuperResolutionData, split: Split) -> int:
    """Return the number of which HR sides should be multiples: the scale; 1 in training.

    Training crops have the right size. Without crops, `checkup` compares the sizes of all training images.
    """
    return 1 if split == "train" else data.scale


def _folder(data: FolderData, findings: list[Finding]) -> Iterator[Item]:
    given = {split: folder for split, folder in data.dirs.items() if folder}
    if given.get("test") == given.get("val"):
        given.pop("test", None)
    if not given:
        raise UserError("Nothing to check: set data.train_dir=PATH, data.val_dir=PATH or both.")
    for split, folder in given.items():
        for path in _images(folder, f"data.{split}_dir", split, findings):
            least = (data.min_side(split),) * 2
            yield Item(split, str(path), partial(Path, path), least, _scale(data, split))


def _pairs(data: PairedData, findings: list[Finding]) -> Iterator[Item]:
    given = {split: dirs for split, dirs in data.dirs.items() if split != "test" and any(dirs)}
    if not given:
        raise UserError("Nothing to check: set data.train_hr_dir=PATH data.train_lr_dir=PATH, or the same for val.")
    for split, (hr_dir, lr_dir) in given.items():
        if not (hr_dir and lr_dir):
            raise UserError(f"data.{split}_hr_dir and data.{split}_lr_dir are both needed: set both.")
        partners: dict[str, Path] = {}
        for path in _images(lr_dir, f"data.{split}_lr_dir", split, findings):
            key = pair_key(path, data.scale)
            if key in partners:
                detail = f"{partners[key]} and this LR both belong to {key}"
                findings.append(Finding("pair_missing", split, (str(path),), detail))
            partners[key] = path
        matched: dict[str, Path] = {}
        for path in _images(hr_dir, f"data.{split}_hr_dir", split, findings):
            key = pair_key(path, data.scale)
            partner = partners.pop(key, None)
            lr = None if partner is None else Item(split, str(partner), partial(Path, partner))
            if lr is None:
                detail = f"{matched[key]} and this HR both belong to {key}" if key in matched else "no LR of its name"
                findings.append(Finding("pair_missing", split, (str(path),), detail))
            else:
                matched[key] = path
            least, scale = (data.min_side(split),) * 2, _scale(data, split)
            yield Item(split, str(path), partial(Path, path), least, scale, None, lr, data.scale)
        for path in partners.values():
            findings.append(Finding("pair_missing", split, (str(path),), "no HR of its name"))


def _celeba(data: CelebAData, findings: list[Finding], stack: ExitStack) -> Iterator[Item]:
    folder = find_celeba(data.root)
    images, archive = folder / IMAGES, None
    if images.is_dir():
        there = {path.name for path in images.iterdir()}
    else:
        archive = stack.enter_context(open_zip(folder / f"{IMAGES}.zip"))
        there = {name.removeprefix(f"{IMAGES}/") for name in archive.namelist() if not name.endswith("/")}
    native = data.fit == "native"
    seen: dict[str, int] = {}
    for number, line in partition_lines(folder / PARTITION):
        where = f"{PARTITION}, line {number}"
        try:
            name, part = read_line(line)
        except ValueError as error:
            findings.append(Finding("partition", "", (where,), f"{line[:80]!r}: {error}"))
            continue
        split = SPLIT_OF[part]
        if name in seen:
            findings.append(Finding("partition", split, (where,), f"{name} is on line {seen[name]} too"))
            continue
        seen[name] = number
        if name not in there:
            findings.append(Finding("missing", split, (name,), where))
            continue
        member = f"{IMAGES}/{name}"
        source = partial(Path, images / name) if archive is None else partial(_unpacked, archive, member)
        yield Item(split, name, source, data.size if native else (1, 1), 1, None if native else data.size)
    unlisted = sorted(there - seen.keys())
    if unlisted:
        findings.append(Finding("unlisted", "", tuple(unlisted), f"{len(unlisted)} files"))


def _unpacked(archive: zipfile.ZipFile, member: str) -> io.BytesIO:
    return io.BytesIO(read_member(archive, member))
