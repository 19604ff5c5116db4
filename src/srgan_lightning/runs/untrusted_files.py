"""Read files of a run directory that may be damaged or untrusted, with limits on sizes and references."""

import io
import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

MAX_BYTES = 200_000
#: Maximum number of nodes and characters after references are resolved.
MAX_EXPANDED = 1_000_000
REFERENCE = re.compile(r"\$\{([^${}]+)\}")


def read_text(path: Path, most: int = MAX_BYTES) -> str:
    """Read the text of a regular file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is a pipe, a device or longer than `most` bytes.
    """
    if path.exists() and not path.is_file():
        raise ValueError("is not a regular file")
    if path.stat().st_size > most:
        raise ValueError(f"is longer than {most} bytes")
    return path.read_text(encoding="utf-8", errors="replace")


def printable(text: Any, most: int = 300) -> str:
    """Return text as one short line without control characters, for terminals, pictures and files."""
    line = "".join(character if character.isprintable() else " " for character in str(text)[: 4 * most])
    line = " ".join(line.split())
    return line if len(line) <= most else f"{line[:most]}..."


def read_yaml(path: Path) -> Any:
    """Read YAML that Hydra wrote, with references unresolved.

    Raises:
        OSError: the file cannot be read.
        Exception: many types, if the file is damaged or has aliases, which can expand a few bytes to a huge structure.
    """
    text = read_text(path)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=loader)):
        raise ValueError("has aliases, which Hydra does not write")
    return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))


class References:
    """A resolver of `${...}` in a configuration, like OmegaConf's but with limits on size and depth.

    OmegaConf's resolvers are not supported. `oc.env` could show a password of this machine in a report, which others
    may read.

    Args:
        root: the whole configuration from `read_yaml`.
    """

    def __init__(self, root: Any) -> None:
        self.root, self.left = root, MAX_EXPANDED

    def resolve(self, *keys: str) -> Any:
        """Return the value under keys, with references resolved.

        Raises:
            ValueError: a reference is missing, circular, to an environment variable, or expands beyond `MAX_EXPANDED`.
        """
        return self._follow(keys)

    def _follow(self, keys: tuple[str, ...], depth: int = 0) -> Any:
        node = self.root
        try:
            for key in keys:
                node = node[int(key)] if isinstance(node, list) else node[key]
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"has no {printable('.'.join(keys))}") from error
        return self._value(node, keys, depth)

    def _value(self, value: Any, place: tuple[str, ...], depth: int) -> Any:
        self.left -= len(value) if isinstance(value, str) else 1
        if self.left < 0 or depth > 100:
            raise ValueError("has circular or too many references")
        if isinstance(value, dict):
            return {key: self._value(child, (*place, str(key)), depth + 1) for key, child in value.items()}
        if isinstance(value, list):
            return [self._value(child, (*place, str(i)), depth + 1) for i, child in enumerate(value)]
        if not isinstance(value, str):
            return value
        if whole := REFERENCE.fullmatch(value):
            return self._reference(whole[1], place, depth + 1)
        text = REFERENCE.sub(lambda found: str(self._reference(found[1], place, depth + 1)), value)
        if "${" in text:  # as in ${a.${b}}: OmegaConf would resolve the rest later, without these limits
            raise ValueError("has references in references")
        return text

    def _reference(self, name: str, place: tuple[str, ...], depth: int) -> Any:
        if name.startswith("oc.env:"):
            raise ValueError(f"has {printable(name)}, which a report does not read: it may be a secret of this machine")
        inner = name.lstrip(".")
        dots = len(name) - len(inner)
        return self._follow((*(place[:-dots] if dots else ()), *inner.split(".")), depth)
