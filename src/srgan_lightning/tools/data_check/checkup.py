"""Check every file in parallel, then compare all files."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from srgan_lightning.data.celeba import CelebAData
from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.tools.data_check.duplicates import same_pictures
from srgan_lightning.tools.data_check.files import CheckedFile, Item, check_file
from srgan_lightning.tools.data_check.findings import Finding
from srgan_lightning.tools.data_check.listing import list_items
from srgan_lightning.utils.cores import usable_cores

Seen = Callable[[int, int], None]
"""Callback for the progress, called with the number of files checked so far and the number of all files."""


def check_dataset(data: SuperResolutionData, workers: int | None, seen: Seen) -> tuple[list[Item], list[Finding]]:
    """Check a data set.

    Args:
        data: the data module of a configuration.
        workers: number of threads; None for one per core. Threads suffice, because decoding releases the GIL.
        seen: called after each file; see `Seen`.

    Returns:
        The files, and all findings.

    Raises:
        UserError: see `list_items`.
    """
    with ExitStack() as stack:
        items, findings = list_items(data, stack)
        pool = stack.enter_context(ThreadPoolExecutor(workers or usable_cores()))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)  # Ctrl-C need not wait for a million files
        checked: list[CheckedFile] = []
        for each in pool.map(check_file, items):
            checked.append(each)
            findings += each.findings
            seen(len(checked), len(items))
    return items, [*findings, *_sizes(data, checked), *_repeated(checked)]


def _sizes(data: SuperResolutionData, checked: Sequence[CheckedFile]) -> list[Finding]:
    """Find image sizes that do not suit training on whole images.

    All training images must have the same size, and it must be a multiple of the scale.
    """
    if data.crop is not None or isinstance(data, CelebAData):
        return []
    sizes = {each.size: each.item.name for each in checked if each.size and each.item.split == "train"}
    uneven = [(height, width) for height, width in sizes if height % data.scale or width % data.scale]
    if len(sizes) > 1:
        return [Finding("sizes", "train", tuple(sizes.values())[:2], f"{len(sizes)} different sizes")]
    return [
        Finding("sizes", "train", tuple(sizes.values()), f"{width}x{height}, but scale={data.scale}")
        for height, width in uneven
    ]


def _repeated(checked: Sequence[CheckedFile]) -> list[Finding]:
    known = [each for each in checked if each.fingerprint]
    findings: list[Finding] = []
    for group in same_pictures([each.fingerprint for each in known if each.fingerprint]):
        items = [known[place].item for place in group]
        splits = sorted({item.split for item in items}, key=["train", "val", "test"].index)
        kind = "leak" if "train" in splits and len(splits) > 1 else "duplicate"
        files = tuple(item.name for item in items)
        findings.append(Finding(kind, "+".join(splits), files, f"{len(files)} times the same picture"))
    return findings
