"""Checkpoints on the disk: written whole or not at all, and told apart from broken ones."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from srgan_lightning.atomic import write_atomically
from srgan_lightning.errors import UserError
from srgan_lightning.inference.artifact import read_checkpoint
from srgan_lightning.plain_load import load_plain


class AtomicCheckpointIO(TorchCheckpointIO):
    """Never harms the checkpoint that it replaces.

    Lightning's own goes through the system's temporary folder without fsync: where that is another disk, the
    checkpoint is copied over its predecessor byte by byte.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        """Lightning's own would load it without looking through it first."""
        content: dict[str, Any] = load_plain(path)
        return content


def check_whole(path: Path) -> None:
    """Read a checkpoint through.

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
    read_checkpoint(path)
