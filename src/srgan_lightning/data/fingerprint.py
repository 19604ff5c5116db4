"""A short name for the data that a run saw."""

import hashlib

from srgan_lightning.imaging.reading import ImageSource


def fingerprint(source: ImageSource, times: bool = False) -> str:
    """A hash of what a source reads and how: its arguments, the names of its images, the sizes of their files.

    The same set copied elsewhere keeps its fingerprint. No file is opened, so 160,000 photos take about a second.

    Args:
        source: the images.
        times: also hash when each file was last changed, which finds a file replaced by one of the same size.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(f"{source.describe()}\n".encode())
    for index in range(len(source)):
        digest.update(f"{source.name(index)}\n".encode(errors="surrogateescape"))
    for path in source.files():
        try:
            stat = path.stat()
            digest.update(f"{stat.st_size} {stat.st_mtime_ns if times else ''}\n".encode())
        except OSError:
            digest.update(b"missing\n")  # reported when it is read
    return digest.hexdigest()[:16]
