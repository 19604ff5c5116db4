"""Write checkpoints atomically, and verify them."""

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
    """Progress of a training in generator updates and batches; instances compare in that order."""

    updates: int
    batches: int


class AtomicCheckpointIO(TorchCheckpointIO):
    """A checkpoint IO that never damages the checkpoint that it replaces, or any other file.

    Lightning's IO writes through the system's temporary folder, without fsync. If that folder is on another disk,
    the new checkpoint is copied over the old one byte by byte. Lightning's IO also removes whole folders, local and
    remote.
    """

    def __init__(self) -> None:
        self.folders: set[Path] = set()  # folders in which this run has saved checkpoints

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
        self.folders.add(folder.resolve())

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file, but only in a folder in which this run saves checkpoints."""
        file = Path(path)
        if file.parent.resolve() in self.folders and file.is_file() and not file.is_symlink():
            file.unlink()

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        """Load a checkpoint and check its entries, which Lightning's IO would not do."""
        content: dict[str, Any] = safe_torch_load(path)
        check_resumable(content, path)
        return content


def verify_checkpoint(path: Path) -> Progress:
    """Check a checkpoint, and return the progress of its training.

    Raises:
        UserError: it is truncated, damaged, or not a training checkpoint of this package.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not verify checksums
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a complete checkpoint: {error}.") from error
    if damaged is not None:
        raise UserError(f"{path} is not a complete checkpoint: {damaged} in it is damaged.")
    metadata = read_checkpoint(path)[1]
    check_resumable(safe_torch_load(path), path)
    return Progress(metadata["recipe"]["updates"], metadata.get("batches", -1))
