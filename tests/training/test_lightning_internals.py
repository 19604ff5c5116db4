"""Lightning's private attributes are used in one file, and each exists in the installed version."""

import ast
import inspect
from pathlib import Path

import lightning
import pytest

import srgan_lightning
from srgan_lightning.training import lightning_internals

TRAINING = Path(srgan_lightning.__file__).parent / "training"
#: Private attributes of torch, Hydra and the standard library, which other files use.
ALLOWED = {"_foreach_copy_", "_foreach_mul_", "_foreach_sub", "_functorch", "_exit", "_target_"}


def private_attributes(tree: ast.AST) -> set[str]:
    """Return the underscored attributes that are read or set on anything but `self`."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    }


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("fit_loop", "_should_accumulate"),
        ("fit_loop", "_data_fetcher"),
        ("fit_loop.epoch_loop", "_should_accumulate"),
        ("fit_loop.epoch_loop", "_should_check_val_fx"),
        ("fit_loop.epoch_loop", "_broadcast_sigterm_tensor"),
        ("fit_loop.epoch_loop", "_batches_that_stepped"),
        ("fit_loop.epoch_loop.val_loop", "_has_run"),
        ("_logger_connector", "should_update_logs"),
    ],
)
def test_the_attribute_exists(path: str, name: str) -> None:
    owner: object = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    for part in path.split("."):
        owner = getattr(owner, part)
    assert hasattr(owner, name)


def test_no_other_file_of_training_uses_private_attributes() -> None:
    found = {
        file.name: names
        for file in TRAINING.rglob("*.py")
        if (names := private_attributes(ast.parse(file.read_text())) - ALLOWED)
    }
    assert set(found) == {"lightning_internals.py"}
    assert len(inspect.getmembers(lightning_internals, inspect.isfunction)) >= 7
