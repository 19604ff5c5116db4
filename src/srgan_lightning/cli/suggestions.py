"""Suggest the nearest valid option for a misspelt one."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf


def suggest(config_dir: Path, config_name: str, arguments: Sequence[str]) -> Iterator[str]:
    """Yield one sentence for each override with an unknown option or choice, if a similar valid one exists.

    Args:
        config_dir: the folder conf/.
        config_name: the primary configuration.
        arguments: the command line.
    """
    groups = {path.parent.relative_to(config_dir).as_posix() for path in config_dir.glob("*/**/*.yaml")}
    choices: list[str] = []
    others: list[Override] = []
    for override in _parsed(arguments):
        if override.key_or_group in groups:
            options = sorted(path.stem for path in (config_dir / override.key_or_group).glob("*.yaml"))
            given = (override.get_value_string() or "").split(",")  # a sweep gives several
            for option in [each for each in given if each not in options]:
                for match in get_close_matches(option, options, 1):
                    yield f"{override.key_or_group}={option}: did you mean {override.key_or_group}={match}?"
            if override.get_value_string() in options:
                choices.append(override.input_line or "")
        elif not (override.is_add() or override.is_force_add() or override.key_or_group.startswith("hydra")):
            others.append(override)
    known = [*groups, *_keys(config_dir, config_name, choices)]
    for override in others:
        if override.key_or_group not in known:
            for match in get_close_matches(override.key_or_group, known, 1):
                yield f"{override.key_or_group}: did you mean {match}?"


def _parsed(arguments: Sequence[str]) -> list[Override]:
    overrides = []
    for argument in arguments:
        try:
            overrides.append(OverridesParser.create().parse_override(argument))
        except HydraException:
            continue  # a flag, or a mistake that Hydra's message explains
    return overrides


def _keys(config_dir: Path, config_name: str, choices: list[str]) -> list[str]:
    """Return all options that exist with these choices of groups, such as `loss.pixel`."""
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(config_dir)):
            return list(_dotted(OmegaConf.to_container(compose(config_name, choices))))
    except HydraException:
        return []  # Hydra itself reports choices that exclude each other


def _dotted(value: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield f"{prefix}{key}"
            yield from _dotted(child, f"{prefix}{key}.")
