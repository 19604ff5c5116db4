"""Writing the shards that `data=streaming` reads."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from srgan_lightning.data.datasets import OnError
from srgan_lightning.data.fingerprint import fingerprint
from srgan_lightning.data.streaming import BinaryWriter
from srgan_lightning.data.workers import worker_options
from srgan_lightning.imaging.reading import EncodedSource, decode
from srgan_lightning.utils.errors import UserError

#: What the shards beside it were made of, so that a command that was killed does not make them twice.
RECORD = "source.json"


class _Checked(Dataset[tuple[str, bytes]]):
    """Names and encoded images, each of which has been decoded once; no bytes for those that cannot be."""

    def __init__(self, source: EncodedSource, order: list[int], on_error: OnError) -> None:
        self.source, self.order, self.on_error = source, order, on_error

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> tuple[str, bytes]:
        index = self.order[number]
        name = self.source.name(index)
        try:
            data = self.source.encoded(index)
            decode(data, name)
        except UserError as error:
            if self.on_error == "raise":
                raise
            warnings.warn(f"data.on_error=skip: {error}", stacklevel=2)
            return name, b""
        return name, data


def finished_shards(source: EncodedSource, folder: str | Path, shard_size: str, order_seed: int | None) -> int | None:
    """The number of images that an earlier run has written to a folder; None if the folder is not there.

    Args:
        source: see `write_shards`, as the others.

    Raises:
        UserError: the folder holds anything else than `write_shards` would write there.
    """
    folder = Path(folder)
    if not folder.exists():
        return None
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record["made_of"] == _made_of(source, shard_size, order_seed):
            return int(record["images"])
    except (OSError, ValueError, TypeError, LookupError):
        pass  # not of this command, or of a version that kept no record
    raise UserError(f"output: {folder} is there already, and holds other data. Give a new folder.")


def _made_of(source: EncodedSource, shard_size: str, order_seed: int | None) -> dict[str, Any]:
    return {"data": fingerprint(source, times=True), "shard_size": shard_size, "seed": order_seed}


def write_shards(
    source: EncodedSource, folder: str | Path, shard_size: str, order_seed: int | None, workers: int, on_error: OnError
) -> int:
    """Write the encoded images of a source as shards of litdata; the folder appears when all are written.

    Args:
        source: the images, as bytes.
        folder: where; must not be there yet.
        shard_size: bytes of a shard, such as 64MB.
        order_seed: of the random order that they are written in, since training mixes within a shard and its
            neighbours alone; None keeps their order.
        workers: processes that read and check.
        on_error: `skip` leaves images out that cannot be read.

    Returns:
        The number of images written.

    Raises:
        UserError: the folder is there, the images have no bytes of their own, or one cannot be read.
    """
    if not hasattr(source, "encoded") or hasattr(source, "read_lr"):
        raise UserError("make_shards takes data=folder, data=celeba and data=celeba_native: files of HR images.")
    if "://" in str(folder) or Path(folder).exists():
        raise UserError(f"output: {folder} is there already, or no local folder. Give a new one.")
    folder = Path(folder)
    partial = folder.with_name(f"{folder.name}.partial")
    if partial.exists():  # of a run that was killed
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    made_of = _made_of(source, shard_size, order_seed)
    count = len(source)
    order = list(range(count)) if order_seed is None else np.random.default_rng(order_seed).permutation(count).tolist()
    images = iter(DataLoader(_Checked(source, order, on_error), batch_size=None, **worker_options(workers)))
    shards, written = BinaryWriter(str(partial), chunk_bytes=shard_size), 0
    for name, data in track(images, f"Writing {folder}", total=count):
        if data:
            shards[written] = {"image": data, "name": name, "index": written}
            written += 1
    if not written:
        raise UserError(f"No image could be read: {folder} was not written.")
    shards.done()
    shards.merge()
    (partial / RECORD).write_text(json.dumps({"made_of": made_of, "images": written}), encoding="utf-8")
    partial.rename(folder)
    return written
