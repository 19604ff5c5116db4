"""The package's metadata and its constraint files."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def required() -> dict[str, str]:
    """Return the requirements of the package and its extras by name, without development tools."""
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for name, each in extras.items() if name != "dev" for line in each)]
    return {re.split(r"[<>=\[]", line)[0]: line for line in lines}


def pinned(name: str) -> dict[str, str]:
    lines = (ROOT / f"constraints/{name}.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"#.*|[a-z0-9-]+==[0-9.]+", line) for line in lines)  # only versions, no hosts
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_constraints_name_every_requirement() -> None:
    for name in ("min", "newest"):
        assert required().keys() <= pinned(name).keys(), name


def test_the_tested_minimum_versions_are_the_declared_ones() -> None:
    for name, version in pinned("min").items():
        floor = re.search(r">=([0-9.]+)", required()[name])
        assert floor is not None, name
        assert [int(part) for part in version.split(".")][: len(floor[1].split("."))] == [
            int(part) for part in floor[1].split(".")
        ], name


def test_no_text_names_a_package_that_is_not_published() -> None:
    texts = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("src/**/*.py"), *ROOT.glob("notebooks/*.ipynb")]
    install = re.compile(r"install (--\w+ )*'?srgan-lightning")
    assert not [path for path in texts if install.search(path.read_text(encoding="utf-8"))]
    assert (PROJECT["license"], PROJECT["license-files"]) == ("MIT", ["LICENSE"])
