"""Where conf/ is, and the resolvers that its files use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf


def config_dir() -> Path:
    """The folder conf/: inside the installed wheel, or at the root of the checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parents[1] / "conf"


def _resolver(name: str) -> Callable[..., str]:
    """A resolver of `runs.resume`, which imports torch: once a run is to start, not for --help."""

    def resolve(*arguments: Any) -> str:
        from srgan_lightning.runs import resume

        return str(getattr(resume, name)(*arguments))

    return resolve


for _name in ("run_directory", "hydra_directory"):  # here, since the processes of a sweep import this module too
    OmegaConf.register_new_resolver(_name, _resolver(_name), use_cache=True, replace=True)


def without_nulls(arguments: list[str], conf: Path) -> list[str]:
    """Write `GROUP=null`, which Hydra 1.3 answers with a traceback, as its own `~GROUP`."""

    def is_null(word: str) -> bool:
        group, _, option = word.partition("=")
        return option == "null" and group.isidentifier() and (conf / group).is_dir()

    return [f"~{word.removesuffix('=null')}" if is_null(word) else word for word in arguments]
