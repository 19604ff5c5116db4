"""Check that training can be resumed from a checkpoint, before any of it is loaded."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.optim import Optimizer

from srgan_lightning.artifacts.artifact import check_finite
from srgan_lightning.utils.errors import UserError

#: Entries that every checkpoint of this package has, with their types.
KINDS: dict[str, type] = {
    "state_dict": dict,
    "generator": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "loops": dict,
    "callbacks": dict,
    "pytorch-lightning_version": str,
    "epoch": int,
    "global_step": int,
}
ADVICE = (
    "It is damaged, or was not written by a training of this package. Resume from another checkpoint (ckpt_path=last "
    "skips such files), or load only its generator with model.init_from."
)
#: Options of an optimiser that only select the implementation of its step. A resumed run uses its own.
IMPLEMENTATION = ("fused", "foreach")


def check_resumable(checkpoint: Any, path: Any) -> None:
    """Check the entries of a checkpoint and their types, and that all numbers are finite.

    Raises:
        UserError: an entry is missing or has a wrong type; weights, optimiser moments or EMA weights are not finite.
    """
    if not isinstance(checkpoint, dict):
        raise UserError(f"{path} is not a checkpoint of srgan-lightning.")
    wrong = [name for name, kind in KINDS.items() if not isinstance(checkpoint.get(name), kind)]
    if not wrong:
        generator, weights = checkpoint["generator"], checkpoint["state_dict"].values()
        recipe = generator.get("recipe")
        sound = {
            "loops": isinstance(checkpoint["loops"].get("fit_loop"), dict),
            "pytorch-lightning_version": re.match(r"\d+\.\d+", checkpoint["pytorch-lightning_version"]),
            "state_dict": all(isinstance(value, Tensor) for value in weights),
            "generator": isinstance(generator.get("arguments"), dict)
            and isinstance(generator.get("batches", 0), int)
            and isinstance(recipe, dict)
            and isinstance(recipe.get("updates"), int),
            "generator_ema": isinstance(checkpoint.get("generator_ema", {}), dict),
            "scores": isinstance(checkpoint.get("scores", {}), dict),
        }
        wrong = [name for name, good in sound.items() if not good]
    if wrong:
        raise UserError(f"{path} cannot be resumed from: {', '.join(wrong)} missing or of a wrong type. {ADVICE}")
    moments = [state.get("state") for state in checkpoint["optimizer_states"] if isinstance(state, dict)]
    for name, part in (
        ("", checkpoint["state_dict"]),
        ("average", checkpoint.get("generator_ema", {})),
        ("moments", moments),
    ):
        check_finite({key: t for key, t in _tensors(part, name) if t.is_floating_point()}, path)


def first_misfit(ours: dict[str, Tensor], theirs: dict[str, Any]) -> str | None:
    """Describe the first tensor whose shape differs between two state dicts, for an error; None if all match."""
    for name in sorted({*ours, *theirs}, key=str):
        here, there = (
            list(state[name].shape) if isinstance(state.get(name), Tensor) else "absent" for state in (ours, theirs)
        )
        if here != there:
            return f"{name} is {there} in the file and {here} in this run"
    return None


def check_states(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Check the types in the states of callbacks and loops, and the number of optimiser states.

    Raises:
        UserError: a type or the number differs from that of this run, so that training would fail later.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    ours = {callback.state_key: callback.state_dict() for callback in callbacks}
    found = _difference(ours, checkpoint["callbacks"], "callbacks")
    found = found or _difference(trainer.fit_loop.state_dict(), checkpoint["loops"]["fit_loop"], "loops.fit_loop")
    networks = sum(hasattr(trainer.lightning_module, name) for name in ("generator", "discriminator"))
    if len(checkpoint["optimizer_states"]) != networks:
        found = "optimizer_states"
    if found:
        raise UserError(
            f"ckpt_path={trainer.ckpt_path} cannot be resumed from: {found} has a wrong type or number. {ADVICE}"
        )


def follow_implementation(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Check an optimiser's state before it is loaded, and return it with this run's `fused` and `foreach`.

    A fused optimiser handles the gradient scaler of 16-mixed itself, and would fail if it loaded the parameter
    groups of an optimiser that is not fused.

    Raises:
        UserError: the moments have other shapes than the weights, or a value has a wrong type.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for index, moments in state["state"].items():
        if any(value.numel() > 1 and value.shape != weights[index].shape for _, value in _tensors(moments, "")):
            raise UserError(
                f"ckpt_path cannot be resumed from: an optimiser's moments do not match its weights. {ADVICE}"
            )
    ours = {key: optimizer.defaults[key] for key in IMPLEMENTATION if key in optimizer.defaults}
    for group, mine in zip(state["param_groups"], optimizer.param_groups, strict=True):
        found = _difference(mine, {**group, "params": []}, "optimizer_states")
        if found:
            raise UserError(f"ckpt_path cannot be resumed from: {found} has a wrong type. {ADVICE}")
    return {**state, "param_groups": [{**group, **ours} for group in state["param_groups"]]}


class _Begun(Callback):
    """A callback that records that training has begun, which means that everything has been restored."""

    begun = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.begun = True


@contextmanager
def restoring(trainer: Trainer, ckpt_path: str | None) -> Iterator[None]:
    """Turn an error that occurs while a checkpoint is restored into a UserError about that checkpoint.

    Raises:
        UserError: restoring failed.
    """
    watch = _Begun()
    trainer.callbacks.append(watch)  # type: ignore[attr-defined]
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError) as error:
        if ckpt_path is None or watch.begun or isinstance(error, MisconfigurationException | MemoryError):
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"ckpt_path={ckpt_path} cannot be resumed from ({reason}). {ADVICE}") from error
    finally:
        trainer.callbacks.remove(watch)  # type: ignore[attr-defined]


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _tensors(child, f"{name}.{key}".removeprefix("."))


def _difference(ours: Any, theirs: Any, where: str) -> str | None:
    """Return the path of the first value whose type differs between two states. A None value matches any type."""
    if ours is None or theirs is None:
        return None
    if isinstance(ours, dict) and isinstance(theirs, dict):
        common = [key for key in ours if key in theirs]
        return next((found for key in common if (found := _difference(ours[key], theirs[key], f"{where}.{key}"))), None)
    for kinds in ((int, float), (str, PurePath), (list, tuple), (Tensor,), (dict,)):
        if isinstance(ours, kinds):
            return None if isinstance(theirs, kinds) else where
    return None
