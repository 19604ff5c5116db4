"""Find conf/, register its resolvers, and preprocess overrides."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf


def config_dir() -> Path:
    """Return the folder conf/, in the installed wheel or at the root of the checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parents[1] / "conf"


def _resolver(name: str) -> Callable[..., str]:
    """Make a resolver from a function of `runs.resume`.

    That module imports torch, so it is only imported when the resolver is used.
    """

    def resolve(*arguments: Any) -> str:
        from srgan_lightning.runs import resume

        return str(getattr(resume, name)(*arguments))

    return resolve


# The processes of a sweep need the resolvers too, so they are registered when this module is imported.
for _name in ("run_directory", "hydra_directory"):
    OmegaConf.register_new_resolver(_name, _resolver(_name), use_cache=True, replace=True)


#: The new name of each renamed choice of a group, and a remark for the user.
RENAMED = {
    "experiment=seed": ("celeba_blur", " New runs go to outputs/celeba_blur; set name=seed for those in outputs/seed."),
    "loss=seed": ("all_terms", ""),
}


def with_new_names(arguments: list[str]) -> list[str]:
    """Replace old names of group choices by the new ones, and print a note for each to stderr."""

    def renamed(word: str) -> str:
        group, equals, options = word.partition("=")
        chosen = options.split(",")
        for number, option in enumerate(chosen):
            if f"{group}={option}" in RENAMED:
                chosen[number], remark = RENAMED[f"{group}={option}"]
                print(f"{group}={option} is now called {group}={chosen[number]}.{remark}", file=sys.stderr)
        return f"{group}{equals}{','.join(chosen)}"

    return [renamed(word) for word in arguments]


#: Options whose value is a dictionary that is replaced as a whole, not merged.
WHOLE = ("loss.vgg.layers",)


def with_whole_values(arguments: list[str]) -> list[str]:
    """Let a dictionary on the command line replace that of conf/ for options in `WHOLE`; Hydra would merge the two."""
    replaced: list[str] = []
    for word in arguments:
        key, _, value = word.partition("=")
        replaced += [f"{key}=null", word] if key in WHOLE and value.startswith("{") else [word]
    return replaced


def without_nulls(arguments: list[str], conf: Path) -> list[str]:
    """Replace `GROUP=null`, for which Hydra 1.3 prints a traceback, by Hydra's `~GROUP`."""

    def is_null(word: str) -> bool:
        group, _, option = word.partition("=")
        return option == "null" and group.isidentifier() and (conf / group).is_dir()

    return [f"~{word.removesuffix('=null')}" if is_null(word) else word for word in arguments]
