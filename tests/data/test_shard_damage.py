"""Damaged and hostile shards give one paragraph, and nothing is written outside the cache."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

litdata = pytest.importorskip("litdata", reason="needs the extra `streaming`")

from srgan_lightning.data.datasets import TrainingSet  # noqa: E402
from srgan_lightning.data.folder import ImageFolder  # noqa: E402
from srgan_lightning.data.sharding import write_shards  # noqa: E402
from srgan_lightning.data.streaming import Shards, ShardStream  # noqa: E402
from srgan_lightning.utils.errors import UserError  # noqa: E402

Damage = Callable[[Path], Any]


@pytest.fixture
def shards(photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write three shards of four photos; litdata's cache is in `tmp_path`/cache."""
    cache = str(tmp_path / "cache")
    monkeypatch.setattr("litdata.utilities.dataset_utilities.get_default_cache_dir", lambda: cache)
    source = ImageFolder(photos("photos", 12), "x")
    size = sum(path.stat().st_size for path in source.paths) // 3 + 300
    assert write_shards(source, tmp_path / "shards", f"{size}B", None, 0, "raise") == 12
    assert len(list((tmp_path / "shards").glob("*.bin"))) == 3
    return tmp_path / "shards"


def read_all(url: str) -> int:
    source = Shards(url, "data.train_dir", None, "square")
    for index in range(len(source)):
        source.read(index)
    return sum(1 for _ in ShardStream(source, TrainingSet(source, 4, 32), seed=0, cache_size=None))


def index(*keys: Any, value: Any) -> Damage:
    """Set the value of index.json at a path of keys."""

    def change(folder: Path) -> None:
        whole = json.loads((folder / "index.json").read_text())
        inner = whole
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        (folder / "index.json").write_text(json.dumps(whole))

    return change


def text(content: str | bytes) -> Damage:
    return lambda folder: (folder / "index.json").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def shard(change: Callable[[bytes], bytes]) -> Damage:
    return lambda folder: (folder / "chunk-0-1.bin").write_bytes(change((folder / "chunk-0-1.bin").read_bytes()))


def replaced(name: str, by: Callable[[Path], Any]) -> Damage:
    return lambda folder: ((folder / name).unlink(), by(folder / name))


def number(place: int, value: int) -> Damage:
    """Set one of a shard's first 32-bit numbers: the count of images, then the offset of each."""
    return shard(lambda data: data[: 4 * place] + value.to_bytes(4, "little") + data[4 * place + 4 :])


SPEC = '[1, {"type": "builtins.dict", "context": "[\\"a\\", \\"b\\", \\"c\\"]", "children_spec": []}]'
DAMAGES: dict[str, Damage] = {
    "index torn": lambda folder: text((folder / "index.json").read_bytes()[:200])(folder),
    "index empty": text(""),
    "index a list": text("[1, 2]"),
    "index null": text("null"),
    "index binary": text(bytes(range(128, 256))),
    "index nested": text("[" * 100_000),
    "index a folder": replaced("index.json", Path.mkdir),
    "index a pipe": replaced("index.json", os.mkfifo),
    "index missing": replaced("index.json", str),
    "no shards": index("chunks", value=[]),
    "shards a mapping": index("chunks", value={"a": 1}),
    "shards of text": index("chunks", value=["a"]),
    "a shard of nothing": index("chunks", 0, value={}),
    "images 10**12": index("chunks", 0, "chunk_size", value=10**12),
    "images -3": index("chunks", 0, "chunk_size", value=-3),
    "images 0": index("chunks", 0, "chunk_size", value=0),
    "images 5": index("chunks", 0, "chunk_size", value=5),
    "images text": index("chunks", 0, "chunk_size", value="4"),
    "bytes 0": index("chunks", 0, "chunk_bytes", value=0),
    "bytes text": index("chunks", 0, "chunk_bytes", value="x"),
    "config null": index("config", value=None),
    "config a list": index("config", value=[]),
    "format other": index("config", "data_format", value=["jpeg", "str", "int"]),
    "format short": index("config", "data_format", value=["bytes"]),
    "format null": index("config", "data_format", value=None),
    "structure torn": index("config", "data_spec", value="junk"),
    "structure other": index("config", "data_spec", value=SPEC),
    "compressed": index("config", "compression", value="zstd"),
    "encrypted": index("config", "encryption", value={"algorithm": "x"}),
    "another program's": index("config", "format", value="mds"),
    "shard missing": lambda folder: (folder / "chunk-0-1.bin").unlink(),
    "shard empty": shard(lambda data: b""),
    "shard cut": shard(lambda data: data[: len(data) // 2]),
    "shard zeros": shard(lambda data: bytes(len(data))),
    "shard of another count": number(0, 99),
    "shard with a place beyond": number(2, 2**32 - 1),
    "shard with a place before": number(2, 3),
    "shard a folder": replaced("chunk-0-1.bin", Path.mkdir),
    "shard a pipe": replaced("chunk-0-1.bin", os.mkfifo),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # litdata subtracts damaged offsets
@pytest.mark.parametrize("address", ["{}", "local:{}"], ids=["folder", "address"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_shards_get_one_paragraph(shards: Path, damage: Damage, address: str) -> None:
    damage(shards)
    with pytest.raises(UserError) as caught:
        read_all(address.format(shards))
    assert str(shards) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("key", ["filename", "updated_at"])
@pytest.mark.parametrize("name", ["../../x", "{outside}", "..", "a/b", "a\\b", "a\0b", "", " ", 3, None])
@pytest.mark.parametrize("address", ["{}", "local:{}"], ids=["folder", "address"])
def test_names_that_point_outside_the_cache_are_refused(
    shards: Path, tmp_path: Path, key: str, name: Any, address: str
) -> None:
    outside = tmp_path / "outside"
    shutil.copy(shards / "chunk-0-0.bin", outside)
    name = name.format(outside=outside) if isinstance(name, str) else name
    index(*(["chunks", 0, key] if key == "filename" else [key]), value=name)(shards)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="not a plain name"):
        read_all(address.format(shards))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_index_of_an_address_is_read_once(shards: Path) -> None:
    """A server may answer differently the second time."""
    source = Shards(f"local:{shards}", "x", None, "square")
    index("chunks", 0, "filename", value="../../x")(shards)
    assert sum(1 for _ in ShardStream(source, TrainingSet(source, 4, 32), seed=0, cache_size=None)) == 12
    source.read(0)


def test_an_index_that_an_earlier_run_left_in_the_cache_is_checked(shards: Path, tmp_path: Path) -> None:
    read_all(f"local:{shards}")
    (cached,) = (tmp_path / "cache").rglob("index.json")
    index("chunks", 0, "filename", value="../../x")(cached.parent)
    with pytest.raises(UserError, match="not a plain name"):
        Shards(f"local:{shards}", "x", None, "square")
