"""Files are complete or absent. A failure keeps its reason and leaves nothing behind."""

import errno
from contextlib import suppress
from pathlib import Path

import pytest

from srgan_lightning.utils.files import replacing, write_atomically


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with suppress(KeyError), replacing(path, ".partial") as file:
        file.write(b"new")
        raise KeyError
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("name", "reason"), [("n" * 300, errno.ENAMETOOLONG), ("in the way/file", errno.ENOTDIR), ("none/x", errno.ENOENT)]
)
def test_the_reason_of_a_failure_is_not_hidden_by_the_cleaning_up(tmp_path: Path, name: str, reason: int) -> None:
    """If the partial file could not be created, it cannot be removed either."""
    (tmp_path / "in the way").touch()
    with pytest.raises(OSError) as caught:  # noqa: PT011
        write_atomically(tmp_path / name, b"")
    assert caught.value.errno == reason
    assert caught.value.__context__ is None
