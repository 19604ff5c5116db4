"""Find duplicate pictures, even if they are resized, mirrored, slightly cropped or saved in another quality."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Largest differences between copies of a picture: the number of differing bits in their 64-bit hashes, and the mean
#: difference of their thumbnails in levels of 255. Copies (half the size, JPEG of quality 30) differ by up to 7 bits
#: and 3.3 levels. The two most similar of 479 portraits differ by 15 levels.
MAX_BITS, MAX_LEVELS = 12, 6.0
BANDS = 4
BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


@dataclass(frozen=True)
class Fingerprint:
    """A hash of a picture for finding copies.

    Args:
        bits: dHash, 8 bytes: whether each of 8x8 coarse pixels is darker than its right neighbour.
        mirrored: dHash of the mirror image.
        thumbnail: 16x16 RGB, 768 bytes.
    """

    bits: bytes
    mirrored: bytes
    thumbnail: bytes


def fingerprint(image: Image.Image) -> Fingerprint:
    """Compute the fingerprint of an RGB image of any size."""
    small = image.resize((72, 64), Image.Resampling.BOX, reducing_gap=2.0)
    grey = np.asarray(small.convert("L").resize((9, 8), Image.Resampling.BOX))
    bits, mirrored = (np.packbits(side[:, 1:] > side[:, :-1]).tobytes() for side in (grey, grey[:, ::-1]))
    return Fingerprint(bits, mirrored, small.resize((16, 16), Image.Resampling.BOX).tobytes())


def same_pictures(prints: Sequence[Fingerprint]) -> list[list[int]]:
    """Return the groups of positions in `prints` that have the same picture; each group has two or more positions."""
    places: dict[Fingerprint, list[int]] = defaultdict(list)
    for place, print_ in enumerate(prints):
        places[print_].append(place)
    unique = list(places)
    group = list(range(len(unique)))

    def root(number: int) -> int:
        while group[number] != number:
            group[number] = group[group[number]]
            number = group[number]
        return number

    for one, other in _close(unique):
        group[root(one)] = root(other)
    found: dict[int, list[int]] = defaultdict(list)
    for number, print_ in enumerate(unique):
        found[root(number)] += places[print_]
    return [sorted(each) for each in found.values() if len(each) > 1]


def _close(prints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    """Yield pairs of positions with similar fingerprints.

    To save time, a pair is compared only if at least one of the four 16-bit parts of its hashes is equal.
    """
    count = len(prints)
    hashes = [each.bits for each in prints] + [each.mirrored for each in prints]
    bits = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 8)
    plain = np.frombuffer(b"".join(each.thumbnail for each in prints), np.uint8).reshape(count, 16, 16, 3)
    thumbnails = np.concatenate([plain, plain[:, :, ::-1]]).reshape(2 * count, 768)
    for band in range(BANDS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for number, row in enumerate(bits[:, 2 * band : 2 * band + 2]):
            buckets[row.tobytes()].append(number)
        for bucket in buckets.values():
            members: NDArray[Any] = np.array(bucket)
            for position, one in enumerate(bucket[:-1]):
                if one >= count:
                    break  # from here on both are mirror images, and their pairs repeat pairs of pictures
                rest = members[position + 1 :]
                near = rest[BITS[bits[rest] ^ bits[one]].sum(axis=1) <= MAX_BITS]
                levels = np.abs(thumbnails[near].astype(np.int16) - thumbnails[one]).mean(axis=1)
                yield from ((one, int(other) % count) for other in near[levels <= MAX_LEVELS])
