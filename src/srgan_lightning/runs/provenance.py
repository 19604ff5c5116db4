"""`provenance.json`: record the code, command, settings and data of a run."""

import json
import os
import platform
import shlex
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from srgan_lightning import __version__
from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.data.fingerprint import fingerprint
from srgan_lightning.runs.layout import RunDirectory
from srgan_lightning.utils.files import write_atomically
from srgan_lightning.utils.launched import COMMAND

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "omegaconf", "torchmetrics", "numpy", "pillow")


def code_version() -> dict[str, Any]:
    """Return `version` and, in a git checkout, `commit` and `dirty` (whether src/ or conf/ have changes)."""
    root = Path(__file__).resolve().parents[3]
    provenance: dict[str, Any] = {"version": __version__, "commit": None, "dirty": None}
    # Without this check, git would find the repository of another project in which the wheel is installed.
    if (root / ".git").exists():

        def git(*arguments: str) -> str:
            command = ["git", "-C", str(root), *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

        with suppress(OSError, subprocess.CalledProcessError):  # git is missing, or refuses another user's checkout
            provenance["commit"], provenance["dirty"] = (
                git("rev-parse", "HEAD"),
                bool(git("status", "-s", "--", "src", "conf")),
            )
    return provenance


def version_name() -> str:
    """Format `code_version` as one word, such as 1.0+9fceb02-dirty."""
    code = code_version()
    commit = f"+{code['commit'][:7]}" if code["commit"] else ""
    return f"{code['version']}{commit}{'-dirty' if code['dirty'] else ''}"


def describe_start(cfg: DictConfig, data: SuperResolutionData, checkpoint: str | None) -> dict[str, Any]:
    """Describe everything that determines the results of a run from this start on.

    Args:
        cfg: the run's configuration.
        data: the data module after `setup("fit")`.
        checkpoint: the file from which the run is resumed; None for a new run.
    """
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": os.environ.get(COMMAND) or shlex.join(sys.orig_argv),
        "checkpoint": checkpoint,
        "code": code_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "data": {split: fingerprint(source) for split, source in data.sources.items()},
        "config": OmegaConf.to_container(cfg, resolve=True),
    }


def record_configuration(run: RunDirectory, cfg: DictConfig) -> None:
    """Write `.hydra/config.yaml` if Hydra has not, as in a run started from Python; `report` reads this file."""
    if not run.config.exists():
        run.hydra.mkdir(parents=True, exist_ok=True)
        write_atomically(run.config, OmegaConf.to_yaml(cfg).encode())


def record_start(run: RunDirectory, start: dict[str, Any]) -> list[str]:
    """Write `provenance.json`: the first start, and every later one under `resumed`.

    Args:
        run: the run directory.
        start: see `describe_start`.

    Returns:
        The differences from the previous start, such as `config.data.crop: 96, was 64`.
    """
    try:
        record = json.loads(run.provenance.read_text(encoding="utf-8"))
        before = dict([record, *record["resumed"]][-1])
        record["resumed"].append(start)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # No record yet, or a damaged one, which must not prevent resuming.
        record, before = {**start, "resumed": []}, start
    write_atomically(run.provenance, (json.dumps(record, indent=2) + "\n").encode())
    told = ("code", "packages", "data", "config")
    old, new = (_flatten({key: each.get(key) for key in told}) for each in (before, start))
    return [
        f"{key}: {new.get(key)}, was {old.get(key)}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key) and key not in ("config.ckpt_path", "config.run_dir")
    ]


def _flatten(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {k: v for key, part in value.items() for k, v in _flatten(part, f"{name}.{key}" if name else key).items()}
