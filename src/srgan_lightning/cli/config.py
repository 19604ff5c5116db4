"""Where conf/ is, and the resolvers that its files use."""

import sys
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


#: Choices by their names of before, and what a user should know of the new one.
RENAMED = {
    "experiment=seed": ("celeba_blur", " Its runs lie in outputs/celeba_blur; name=seed finds those of before."),
    "loss=seed": ("all_terms", ""),
}


def with_new_names(arguments: list[str]) -> list[str]:
    """Replace renamed choices of groups, and print a note about each on stderr."""

    def renamed(word: str) -> str:
        group, equals, options = word.partition("=")
        chosen = options.split(",")
        for number, option in enumerate(chosen):
            if f"{group}={option}" in RENAMED:
                chosen[number], remark = RENAMED[f"{group}={option}"]
                print(f"{group}={option} is now called {group}={chosen[number]}.{remark}", file=sys.stderr)
        return f"{group}{equals}{','.join(chosen)}"

    return [renamed(word) for word in arguments]


#: Options that hold a dictionary which is a choice as a whole.
WHOLE = ("loss.vgg.layers",)


def with_whole_values(arguments: list[str]) -> list[str]:
    """Let a dictionary given for one of `WHOLE` replace what a group has there; Hydra would merge the two."""
    replaced: list[str] = []
    for word in arguments:
        key, _, value = word.partition("=")
        replaced += [f"{key}=null", word] if key in WHOLE and value.startswith("{") else [word]
    return replaced


def without_nulls(arguments: list[str], conf: Path) -> list[str]:
    """Write `GROUP=null`, which Hydra 1.3 answers with a traceback, as its own `~GROUP`."""

    def is_null(word: str) -> bool:
        group, _, option = word.partition("=")
        return option == "null" and group.isidentifier() and (conf / group).is_dir()

    return [f"~{word.removesuffix('=null')}" if is_null(word) else word for word in arguments]
