"""Check index.json of a folder of shards before litdata uses it."""

import json
import os
import re
from pathlib import Path
from typing import Any

from litdata.streaming.downloader import get_downloader

from srgan_lightning.utils.errors import UserError

INDEX = "index.json"
FORMATS = {"image": "bytes", "name": "str", "index": "int"}
PICKLED = (
    "These shards hold pickled Python objects, which could execute code. They were not written by "
    "`python -m srgan_lightning.make_shards`: write them again with it."
)
#: A file name that cannot lead out of its folder.
PLAIN = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


def fetch_index(url: str, folder: str) -> Path:
    """Copy the index of a folder of shards; return the copy.

    Args:
        url: a local folder or a URL that litdata reads.
        folder: folder for the copy.

    Raises:
        Exception: any error of the object store.
    """
    target = Path(folder, INDEX)
    get_downloader(url, folder, []).download_file(os.path.join(url, INDEX), str(target))
    return target


def check_index(path: Path, folder: Path | None = None) -> None:
    """Refuse an index that is not as `make_shards` writes it.

    The check is for safety: litdata appends shard names and the time of writing, both from the index, to the path of
    its cache. It downloads to the resulting paths, which must not lead out of the cache.

    Args:
        path: the index.
        folder: folder of the shards if they are local; each must exist and be at least as large as the index says.

    Raises:
        UserError: the shards hold pickled objects.
        ValueError: the index is invalid in another way.
    """
    try:
        index = json.loads(path.read_bytes())
        chunks, config = index["chunks"], index["config"]
        sizes = [(chunk["filename"], chunk["chunk_size"], chunk["chunk_bytes"]) for chunk in chunks]
        names = json.loads(json.loads(config["data_spec"])[1]["context"])
        formats = dict(zip(names, config["data_format"], strict=True))
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(f"{INDEX} is damaged, or was not written by make_shards: {error}") from error
    if "pickle" in formats.values():
        raise UserError(PICKLED)
    if formats != FORMATS or any(config.get(key) for key in ("compression", "encryption", "format")):
        raise ValueError(f"{INDEX} describes data that make_shards does not write")
    _check_name(index.get("updated_at", "0"), "updated_at")
    if not sizes:
        raise ValueError(f"{INDEX} lists no shards")
    for name, count, size in sizes:
        _check_name(name, "filename")
        # A shard starts with the number of images, and the offsets of each image and of the end, 4 bytes per number.
        if not (type(count) is int and type(size) is int and count > 0 and 4 * (count + 2) <= size):
            raise ValueError(f"{INDEX} says that {name} holds {count!r} images in {size!r} bytes")
        if folder is not None:
            _check_file(folder / name, size)


def _check_name(name: Any, key: str) -> None:
    if not (isinstance(name, str) and PLAIN.fullmatch(name)):
        raise ValueError(f"{INDEX} has {key}={name!r}, which is not a plain name and could lead out of the folder")


def _check_file(path: Path, size: int) -> None:
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    if path.stat().st_size < size:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {size}")
