"""Checkpoints on the disk: written whole or not at all, and verified."""

import io
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from srgan_lightning.artifacts.artifact import read_checkpoint
from srgan_lightning.runs.checkpoint_checks import check_resumable
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.files import write_atomically
from srgan_lightning.utils.safe_load import safe_torch_load


class Progress(NamedTuple):
    """How far a training had come, in generator updates and batches; compares as that."""

    updates: int
    batches: int


class AtomicCheckpointIO(TorchCheckpointIO):
    """Never harms the checkpoint that it replaces, nor any other file.

    Lightning's own goes through the system's temporary folder without fsync: where that is another disk, the
    checkpoint is copied over its predecessor byte by byte. And it removes whole folders, local and remote.
    """

    def __init__(self) -> None:
        self.folders: set[Path] = set()  # that this run has saved checkpoints to

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
        self.folders.add(folder.resolve())

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file of a folder that this run saves its checkpoints to; leave everything else alone."""
        file = Path(path)
        if file.parent.resolve() in self.folders and file.is_file() and not file.is_symlink():
            file.unlink()

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        """Lightning's own would load it without looking through it first."""
        content: dict[str, Any] = safe_torch_load(path)
        check_resumable(content, path)
        return content


def verify_checkpoint(path: Path) -> Progress:
    """Read a checkpoint through; gives how far its training had come.

    Raises:
        UserError: it is cut short, damaged, or not a training checkpoint of this package.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not look at the checksums
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a whole checkpoint: {error}.") from error
    if damaged is not None:
        raise UserError(f"{path} is not a whole checkpoint: {damaged} in it is damaged.")
    metadata = read_checkpoint(path)[1]
    check_resumable(safe_torch_load(path), path)
    return Progress(metadata["recipe"]["updates"], metadata.get("batches", -1))
