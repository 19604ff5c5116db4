"""Find the directory and the checkpoint of a resumed run."""

import fcntl
import functools
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.utilities import rank_zero_only

from srgan_lightning.runs.checkpoint_io import Progress, verify_checkpoint
from srgan_lightning.runs.layout import CHECKPOINTS, HYDRA, RunDirectory
from srgan_lightning.runs.log import LOG, keep_log
from srgan_lightning.utils.errors import UserError


def is_rank_zero() -> bool:
    """Check whether this is process 0 of the run; works before there is a process group."""
    rank: int = rank_zero_only.rank  # type: ignore[attr-defined]
    return rank == 0


@functools.cache
def _reached(path: Path, changed: int) -> Progress | None:
    """Return the progress of a checkpoint, or log once that it is invalid and return None.

    The modification time `changed` is part of the cache's key, so that a changed file is verified again.
    """
    try:
        return verify_checkpoint(path)
    except UserError as error:
        if is_rank_zero():
            LOG.info("Skipping an invalid checkpoint: %s", error)
        return None


def _dated(checkpoints: Iterable[Path]) -> list[tuple[int, Path]]:
    """Return checkpoints with their modification times in nanoseconds, the newest first."""
    return sorted(((path.stat().st_mtime_ns, path) for path in checkpoints), reverse=True)


def newest_run(runs: Path) -> Path | None:
    """Return the run, of all runs below a folder, that has the newest valid checkpoint by modification time."""
    dated = _dated(
        path for folder in runs.glob(f"*/{CHECKPOINTS}") for path in RunDirectory(folder.parent).checkpoints()
    )
    return next((path.parents[1] for changed, path in dated if _reached(path, changed) is not None), None)


def latest_valid_checkpoint(run: RunDirectory) -> Path | None:
    """Return the run's valid checkpoint that has the most updates.

    Modification times, which a copy or download changes, only decide between checkpoints of the same batch.
    """
    whole = [
        (reached, changed, path)
        for changed, path in _dated(run.checkpoints())
        if (reached := _reached(path, changed)) is not None
    ]
    return max(whole)[-1] if whole else None


def find_checkpoint(ckpt_path: str | None, run: RunDirectory) -> str | None:
    """Return the checkpoint file for `ckpt_path`.

    `last` and `auto` choose the valid checkpoint with the most updates in this run directory or, if it has none, in the
    newest run of the same experiment. Jobs of a sweep only look in their own directories.

    Args:
        ckpt_path: a file, `last`, `auto`, or None.
        run: the run directory.

    Returns:
        The file, or None to start a new training: without `ckpt_path`, or with `auto` if there is no checkpoint.

    Raises:
        UserError: `ckpt_path` is `last`, and there is no valid checkpoint.
    """
    if ckpt_path not in ("last", "auto"):
        return ckpt_path
    sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    found = latest_valid_checkpoint(run)
    if found is None and not sweep and (newest := newest_run(run.path.parent)) is not None:
        found = latest_valid_checkpoint(RunDirectory(newest))
    if found is None and ckpt_path == "last":
        where = run.path if sweep else run.path.parent
        raise UserError(
            f"ckpt_path=last: there is no valid checkpoint below {where.absolute()}. Use ckpt_path=auto to start a new "
            "run in this case."
        )
    if found is not None and is_rank_zero():
        LOG.info("Resuming from %s", found)
    return None if found is None else str(found)


def warn_if_complete(max_steps: int, metadata: dict[str, Any]) -> None:
    """Log that nothing is left to train if the checkpoint has all updates.

    Args:
        max_steps: `trainer.max_steps`; -1 for no limit.
        metadata: the checkpoint's metadata, see `artifact.read_checkpoint`; without a recipe nothing is logged.
    """
    updates = metadata.get("recipe", {}).get("updates", -1)
    if 0 <= max_steps <= updates:
        limit = f"trainer.max_steps={max_steps}"
        LOG.info("Already at update %s of %s: nothing is left to train. Raise trainer.max_steps.", updates, limit)


def run_directory(ckpt_path: str | None, new: str) -> str:
    """Resolve Hydra's `${run_directory:...}`: the directory of the resumed run for `last` and `auto`, or a new one.

    Args:
        ckpt_path: see `find_checkpoint`.
        new: the directory of a new run; its siblings are the runs of the same experiment.
    """
    found = newest_run(Path(new).parent) if ckpt_path in ("last", "auto") else None
    return new if found is None else str(found)


def hydra_directory(run_dir: str, now: str) -> str:
    """Resolve Hydra's `${hydra_directory:...}`: `.hydra` for a new run, a subfolder of it for each resumed start."""
    return f"{HYDRA}/resumed_{now}" if RunDirectory(Path(run_dir)).hydra.exists() else HYDRA


@contextmanager
def lock_run_directory(run: RunDirectory) -> Iterator[None]:
    """Keep two runs from writing to one directory. Rank zero holds the lock, which is released even if it dies.

    Raises:
        UserError: another process is training in the directory.
    """
    if not is_rank_zero():
        yield
        return
    run.path.mkdir(parents=True, exist_ok=True)
    with run.lock_file.open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            _leave_log(run.path)
            raise UserError(
                f"Another run is still writing to {run.path}: stop that run first, or start a new run without "
                "ckpt_path."
            ) from error
        except OSError:
            pass  # the file system does not support locks
        with keep_log(run.log):
            yield


def _leave_log(run_dir: Path) -> None:
    """Close Hydra's log file in a directory that belongs to another run."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).parent == run_dir.resolve():
            root.removeHandler(handler)
            handler.close()
