"""Name the option that a class rejects, when Python and Hydra only report a TypeError."""

import inspect
import re
from difflib import get_close_matches
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf


def refused_option(error: InstantiationException, cfg: DictConfig) -> str | None:
    """Describe the options that caused a class's TypeError; return None if none can be identified.

    Args:
        error: Hydra's error, raised from a TypeError; its message names the configuration key of the class.
        cfg: the whole configuration.
    """
    found = re.search(r"full_key: (\S+)", str(error))
    group = OmegaConf.select(cfg, found[1]) if found else None
    if found is None or not isinstance(group, DictConfig) or "_target_" not in group:
        return None
    key, name, known = found[1], group._target_.rsplit(".", 1)[-1], _arguments(get_object(group._target_))
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error.__cause__))
    if unknown and unknown[1] in group:
        near = get_close_matches(unknown[1], known, 1)
        if near:
            return f"{key}.{unknown[1]}: {name} has no argument '{unknown[1]}'; did you mean {key}.{near[0]}?"
        refused = [str(option) for option in group if option not in {"_target_", "_partial_", *known}]
        refused = [unknown[1], *(option for option in refused if option != unknown[1])]
        without = " ".join(f"~{key}.{option}" for option in refused)
        own = ", or use model/generator=own, which only sets scale" if key == "model.generator" else ""
        names = ", ".join(map(repr, refused))
        return f"{key}: {name} has no argument {names}; leave it out, or delete it by {without}{own}."
    options = {str(option): value for option, value in group.items()}
    wrong = [
        f"{key}.{option}={value}: {name} needs {known[option]} here."
        for option, value in options.items()
        if isinstance(value, str) and not re.search(r"\bstr\b|\bAny\b|Literal|Path", known.get(option, "Any"))
    ]
    return " ".join(wrong) or None


def _arguments(target: Any) -> dict[str, str]:
    """Return the arguments of a class and of its base classes, with their types, such as `int`."""
    targets = inspect.getmro(target)[-2::-1] if inspect.isclass(target) else (target,)  # bases first, without object
    parameters = [parameter for each in targets for parameter in inspect.signature(each).parameters.values()]
    return {
        p.name: "Any" if p.annotation is p.empty else inspect.formatannotation(p.annotation)
        for p in parameters
        if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    }
