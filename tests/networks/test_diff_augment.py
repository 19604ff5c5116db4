"""DiffAugment against the paper's formulas on single images, its gradient, and training with it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig

from srgan_lightning.networks import DiffAugment
from srgan_lightning.train import train
from srgan_lightning.training import SRGAN
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY_FACES, TINY_SRGAN
from tests.helpers.spy import Spy

Configure = Callable[..., DictConfig]
ALL = ["color", "translation", "cutout"]
AUGMENT = "model.discriminator_augment=[color,translation,cutout]"
QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "model.generator.global_skip=none"]


def reference(image: NDArray[np.float32], policy: str, draws: list[float]) -> NDArray[np.float32]:
    """Augment one image (3, H, W) in the paper's [-1, 1] by slices, with torch's draws."""
    _, height, width = image.shape
    if policy == "color":
        image = image + (draws[0] - 0.5)
        mean = image.mean(axis=0, keepdims=True)
        image = (image - mean) * (draws[1] * 2) + mean
        mean = image.mean()
        return (image - mean) * (draws[2] + 0.5) + mean
    out = np.zeros_like(image) if policy == "translation" else image.copy()
    if policy == "translation":
        for y in range(height):
            for x in range(width):
                from_y, from_x = y + int(draws[0]), x + int(draws[1])
                if 0 <= from_y < height and 0 <= from_x < width:
                    out[:, y, x] = image[:, from_y, from_x]
        return out
    top, left = (int(draw) - int(size * 0.5 + 0.5) // 2 for draw, size in zip(draws, (height, width), strict=True))
    out[:, max(top, 0) : top + int(height * 0.5 + 0.5), max(left, 0) : left + int(width * 0.5 + 0.5)] = 0
    return out


@pytest.mark.parametrize("policy", ALL)
@pytest.mark.parametrize("size", [(16, 24), (13, 9)])
def test_each_policy_is_the_papers(policy: str, size: tuple[int, int]) -> None:
    images = torch.rand(40, 3, *size)
    torch.manual_seed(3)
    actual = DiffAugment([policy])(images)
    torch.manual_seed(3)
    if policy == "color":
        draws = torch.rand(3, 40, 1, 1, 1).view(3, 40)
    else:
        rows = []
        for side in size:
            most, square = int(side / 8 + 0.5), int(side * 0.5 + 0.5)
            low, high = (-most, most + 1) if policy == "translation" else (0, side + (1 - square % 2))
            rows.append(torch.randint(low, high, (40, 1)).view(40).float())
        draws = torch.stack(rows)
        assert all(len(row.unique()) > 2 for row in rows)
    for image, result, own in zip(images, actual, draws.T.tolist(), strict=True):
        expected = (reference(image.numpy() * 2 - 1, policy, own) + 1) / 2
        torch.testing.assert_close(result, torch.from_numpy(expected).float(), atol=1e-5, rtol=1e-5)


def test_policies_are_applied_in_the_papers_order() -> None:
    images = torch.rand(4, 3, 16, 16)
    torch.manual_seed(1)
    expected = images
    for policy in ALL:
        expected = DiffAugment([policy])(expected)
    torch.manual_seed(1)
    torch.testing.assert_close(DiffAugment(ALL[::-1])(images), expected, rtol=0, atol=0)


def test_the_gradient_is_that_of_the_same_draws() -> None:
    """For fixed draws, T is affine: <w, T(x)> = <dT'w, x> + <w, T(0)>."""
    images, weights = torch.rand(8, 3, 12, 20, requires_grad=True), torch.randn(8, 3, 12, 20)
    results = []
    for x in (images, torch.zeros_like(images)):
        torch.manual_seed(5)
        results.append((DiffAugment(ALL)(x) * weights).sum())
    (gradient,) = torch.autograd.grad(results[0], images)
    torch.testing.assert_close((gradient * images).sum() + results[1], results[0])


def test_half_precision_is_altered_in_float32() -> None:
    images = torch.rand(4, 3, 16, 16).bfloat16()
    results = []
    for x in (images, images.float()):
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16):
            results.append(DiffAugment(ALL)(x))
    assert results[0].dtype == torch.float32
    assert torch.equal(*results)


@pytest.mark.parametrize("policies", ["color", ["color", "flip"], ["colour"]])
def test_unknown_policies_are_refused(policies: list[str]) -> None:
    with pytest.raises(UserError, match=r"model\.discriminator_augment: .*color, translation, cutout"):
        DiffAugment(policies)


@pytest.mark.slow
def test_hr_and_sr_get_different_random_values(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each update augments three times: HR, SR for the discriminator, and SR for the generator, with gradient."""
    shown = []
    original = DiffAugment.__call__

    def show(self: DiffAugment, images: torch.Tensor) -> torch.Tensor:
        result = original(self, images)
        shown.append((images.detach(), result))
        return result

    monkeypatch.setattr(DiffAugment, "__call__", show)
    train(configure(*QUICK, "model.discriminator_augment=[cutout]", "trainer.max_steps=1"))
    assert [result.requires_grad for _, result in shown] == [False, False, True]
    cuts = [(result == 0.5).all(1).flatten(1) for _, result in shown]
    assert all(cut.any(1).all() for cut in cuts)
    assert not any(torch.equal(a, b) for a, b in ((cuts[0], cuts[1]), (cuts[1], cuts[2]), (cuts[0], cuts[2])))
    assert torch.equal(shown[1][0], shown[2][0])  # the same SR


def test_its_gradient_reaches_every_generator_weight(configure: Configure) -> None:
    cfg = configure(*QUICK, AUGMENT)
    module = instantiate(cfg.model, loss=instantiate(cfg.loss))
    module._judge(module(torch.rand(2, 3, 8, 8))).mean().backward()
    for name, parameter in module.generator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_it_is_off_unless_chosen(configure: Configure) -> None:
    module: SRGAN = instantiate(configure("model=srgan", *TINY_SRGAN).model, loss=instantiate(configure().loss))
    assert module.augment is None
    state = torch.get_rng_state()
    module._judge(torch.full((2, 3, 32, 32), 0.5))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_both_networks_train_with_it(configure: Configure, precision: str) -> None:
    spy = Spy()
    options = [AUGMENT, "trainer.max_steps=3", "trainer.val_check_interval=3", "model.accumulate_grad_batches=2"]
    train(configure(*QUICK, *options, f"trainer.precision={precision}"), [spy])
    assert spy.skipped == 0
    for name, parameter in spy.module.named_parameters():
        assert not torch.equal(parameter, spy.start[name]), name
