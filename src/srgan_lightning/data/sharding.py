"""Write the shards that `data=streaming` reads."""

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

#: File that records the source of the shards, so that a repeated command does not write finished shards again.
RECORD = "source.json"


class _Checked(Dataset[tuple[str, bytes]]):
    """Names and encoded images. Each image is decoded as a check; with `on_error=skip`, a broken one has no bytes."""

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
    """Return the number of images that an earlier run wrote to a folder; None if the folder does not exist.

    Args: see `write_shards`.

    Raises:
        UserError: the folder exists, but `write_shards` did not write it with these arguments.
    """
    folder = Path(folder)
    if not folder.exists():
        return None
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record["made_of"] == _made_of(source, shard_size, order_seed):
            return int(record["images"])
    except (OSError, ValueError, TypeError, LookupError):
        pass  # another program wrote the folder, or a version of this command that kept no record
    raise UserError(
        f"output: {folder} exists already and holds other data, or was written with another shard_size or seed. "
        "Give a new folder."
    )


def _made_of(source: EncodedSource, shard_size: str, order_seed: int | None) -> dict[str, Any]:
    return {"data": fingerprint(source, times=True), "shard_size": shard_size, "seed": order_seed}


def write_shards(
    source: EncodedSource, folder: str | Path, shard_size: str, order_seed: int | None, workers: int, on_error: OnError
) -> int:
    """Write the encoded images of a source as litdata shards; the folder appears when all images are written.

    Args:
        source: the images, as encoded bytes.
        folder: the new folder; must not exist.
        shard_size: size of a shard, such as 64MB.
        order_seed: seed of the random order of the images; None keeps the source's order. The order matters, because
            training shuffles the shards, but images only within their shard.
        workers: number of processes that read and check.
        on_error: `skip` leaves out images that cannot be read.

    Returns:
        The number of images written.

    Raises:
        UserError: the folder exists, the source has no encoded images, or an image cannot be read.
    """
    if not hasattr(source, "encoded") or hasattr(source, "read_lr"):
        raise UserError("make_shards needs files of HR images: use data=folder, data=celeba or data=celeba_native.")
    if "://" in str(folder) or Path(folder).exists():
        raise UserError(f"output: {folder} exists already, or is not a local folder. Give a new local folder.")
    folder = Path(folder)
    partial = folder.with_name(f"{folder.name}.partial")
    if partial.exists():  # left by a killed run
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
