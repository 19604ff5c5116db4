"""Each warning names options that help, and these options exist."""

import re
from collections.abc import Callable, Iterator

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from srgan_lightning.losses.adversarial import KINDS, AdversarialLoss
from srgan_lightning.training.callbacks.health_rules import (
    Fault,
    discriminator_faults,
    network_faults,
    picture_faults,
    term_faults,
)

Configure = Callable[..., DictConfig]


def every_fault() -> Iterator[Fault]:
    for name in ("generator", "discriminator"):
        yield from network_faults({name: 0.0}, {name: 0.0}, 1)
        yield from network_faults({name: 1e-3}, {name: 0.0}, 1)
        yield from network_faults({name: 1e-3}, {name: 0.9}, 1)
    yield from discriminator_faults(0.99, 0.01, 1.0, 200)
    for term in ("pixel", "perceptual", "adversarial", "total_variation", "grid"):
        yield from term_faults({term: 0.0}, "linear", False, 1)
        yield from term_faults({term: 1e6, "other": 1.0}, "bce", False, 1)
    yield from term_faults({"perceptual": 1e-9, "pixel": 1.0}, "bce", False, 1)
    yield from picture_faults(50.0, (2.0, 1.0))


FAULTS = {fault.name: fault for fault in every_fault() if not fault.name.startswith("other")}


@pytest.mark.parametrize("name", FAULTS)
def test_the_options_that_are_named_exist(configure: Configure, name: str) -> None:
    words = FAULTS[name].words
    groups = re.findall(r"(?:model/|scheduler@)[\w./]+=\w+|\bloss=\w+", words)
    values = re.findall(r"\b((?:loss|model|trainer|callbacks)\.[\w.]*\w)(?:=(\[[\w,]+\]|[\w.]*\w))?", words)
    assert groups or values, words
    chosen = [f"{key}={value}" for key, value in values if value and f"@{key}=" not in words]
    cfg = configure("model=srgan", *groups, *chosen)
    for key, _ in values:
        parent, _, option = key.rpartition(".")
        assert option in OmegaConf.select(cfg, parent), key


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("discriminator wins", ["loss.r1", "model.discriminator_augment", "model/discriminator=unet"]),
        ("discriminator wins", ["loss.adversarial_ramp", "loss.label_smoothing", "callbacks.balance"]),
        ("generator exploding", ["scheduler@model.generator_scheduler=warmup_cosine", "model.generator_clip"]),
        ("adversarial silent", ["loss.adversarial_kind=bce"]),
        ("adversarial swamps", ["loss.adversarial_ramp"]),
        ("grid", ["loss.grid=400", "loss.perceptual", "model.generator.icnr=true"]),
    ],
)
def test_the_advice_names_these_options(name: str, options: list[str]) -> None:
    for option in options:
        assert option in FAULTS[name].words


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_loss_with_a_vanishing_gradient_gets_the_advice_to_change_it(kind: str) -> None:
    """A confident discriminator leaves the generator a gradient with every kind but `linear`."""
    logits = torch.tensor([-200.0, -200.0], requires_grad=True)
    AdversarialLoss(kind).generator(logits, real=torch.tensor([200.0, 200.0])).backward()  # type: ignore[no-untyped-call]
    vanishes = not logits.grad.any()  # type: ignore[union-attr]
    (fault,) = term_faults({"adversarial": 0.0}, kind, False, 1)
    assert vanishes == (kind == "linear")
    assert ("loss.adversarial_kind=bce" in fault.words) == vanishes


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("norm", [1e6, 1e-9])
def test_normalised_features_get_no_advice_to_normalise_them(norm: float, normalized: bool) -> None:
    (fault,) = (f for f in term_faults({"perceptual": norm, "pixel": 1.0}, "bce", normalized, 1) if "percep" in f.name)
    assert ("loss.vgg.normalize=true" in fault.words) != normalized
    assert f"{'Lower' if norm > 1 else 'raise'} loss.perceptual" in fault.words.replace("Raise", "raise")


def test_the_change_of_the_discriminator_is_that_of_a_generator_update() -> None:
    """`model.discriminator_updates` of its updates may be in it."""
    assert "its weights change by 90% of their norm in one generator update" in FAULTS["discriminator exploding"].words
