"""Read the offline file of a W&B run: protobuf records in 32 KiB blocks, in LevelDB's log format."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, 7  # of each piece: checksum (4), length (2), kind (1: whole, 2: first, 3: middle, 4: last)


def records(path: Path) -> Iterator[Record]:
    """Return all records of a `.wandb` file in order."""
    data, position, parts = path.read_bytes(), HEADER, b""
    assert data.startswith(b":W&B")
    while position + HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER:  # too little for a header: padding
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        parts += data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def values(items: Any) -> dict[str, Any]:
    """Return the keys and values of a history, summary or config record; nested keys are joined by dots."""
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
