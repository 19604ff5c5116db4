"""Rules that keep the code easy to take over: short entry points, and packages that only import downward."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import srgan_lightning
from srgan_lightning.training.run import train

PACKAGE = Path(srgan_lightning.__file__).parent
#: Each package imports only from the rows above its own. Modules outside these packages are commands.
LAYERS = (
    ("utils",),
    ("imaging", "losses"),
    ("networks", "metrics"),
    ("data", "artifacts"),
    ("runs", "inference"),
    ("training", "cli"),
    ("tools",),
    ("commands",),
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def room_of(module: str) -> str:
    """Return a module's package, such as `data` for `srgan_lightning.data.folder`; `commands` for the top level."""
    room = (module.split(".") + [""])[1]
    return room if (PACKAGE / room).is_dir() and room else "commands"


def imports(source: str) -> Iterator[str]:
    """Return this package's modules that a source imports, also inside functions, but not under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("srgan_lightning"):
            names = [f"{node.module}.{name.name}" for name in node.names]
            yield from names if node.module == "srgan_lightning" else [str(node.module)]
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("srgan_lightning"))


def upward(room: str, source: str) -> list[str]:
    """Return the imports of a file that its package must not have."""
    return [
        module
        for module in imports(source)
        if module != "srgan_lightning.__version__" and room_of(module) != room
        if LEVEL[room_of(module)] >= LEVEL[room]
    ]


def test_train_is_one_screen() -> None:
    assert len(inspect.getsource(train).splitlines()) <= 45


@pytest.mark.parametrize("room", [room for room in LEVEL if room != "commands"])
def test_nothing_imports_upward(room: str) -> None:
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    found = {path.relative_to(PACKAGE).as_posix(): upward(room, path.read_text(encoding="utf-8")) for path in files}
    assert not {path: modules for path, modules in found.items() if modules}


def test_every_package_has_a_layer() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == {*LEVEL} - {"commands"}


def test_the_top_level_holds_only_commands() -> None:
    commands = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    scripts = {"train", "evaluate", "upscale", "export", "demo", "report", "check_data", "make_shards", "benchmark"}
    assert commands == scripts
    for command in commands:
        source = (PACKAGE / f"{command}.py").read_text(encoding="utf-8")
        assert not [module for module in imports(source) if module.removeprefix("srgan_lightning.") in commands]


def test_an_upward_import_is_found() -> None:
    assert upward("data", "def f():\n    from srgan_lightning.training.run import train") == [
        "srgan_lightning.training.run"
    ]
    assert upward("tools", "from srgan_lightning import train") == ["srgan_lightning.train"]
    assert upward("utils", "import srgan_lightning.imaging.ops") == ["srgan_lightning.imaging.ops"]
    assert not upward("training", "from srgan_lightning.data.folder import FolderData\nimport torch")
