"""Each term against an independent calculation, and the sign of its gradient."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torchvision.models import VGG19_Weights, vgg19

from srgan_lightning.losses import AdversarialLoss, GeneratorLoss, PerceptualLoss, VGGFeatures
from srgan_lightning.losses.adversarial import KINDS
from srgan_lightning.losses.generator_loss import total_variation
from srgan_lightning.utils.errors import UserError

RANDOM = {"layer": "relu2_2", "weights": "random"}


def test_adversarial_bce_is_binary_cross_entropy() -> None:
    real, fake = torch.randn(5, 1), torch.randn(5, 1)
    game = AdversarialLoss("bce")
    ones, zeros = torch.ones(5, 1), torch.zeros(5, 1)
    expected = F.binary_cross_entropy_with_logits(real, ones) + F.binary_cross_entropy_with_logits(fake, zeros)
    torch.testing.assert_close(game.discriminator(real, fake), expected)
    torch.testing.assert_close(game.generator(fake), F.binary_cross_entropy_with_logits(fake, ones))


@pytest.mark.parametrize("kind", KINDS)
def test_both_networks_have_opposite_gradients(kind: str) -> None:
    game = AdversarialLoss(kind)
    fake = torch.full((4, 1), 0.1, requires_grad=True)
    (towards_real,) = torch.autograd.grad(game.generator(fake, torch.zeros(4, 1)), fake)
    (towards_fake,) = torch.autograd.grad(game.discriminator(torch.zeros(4, 1), fake), fake)
    assert (towards_real < 0).all()  # the generator raises D(sr) ...
    assert (towards_fake > 0).all()  # ... and the discriminator lowers it
    won, lost = torch.full((4, 1), 3.0), torch.full((4, 1), -3.0)
    assert game.discriminator(won, lost) < game.discriminator(lost, won)


def test_bce_does_not_saturate_where_the_discriminator_wins() -> None:
    fake = torch.full((1, 1), -20.0, requires_grad=True)
    (gradient,) = torch.autograd.grad(AdversarialLoss("bce").generator(fake), fake)
    assert gradient.item() == pytest.approx(-1)


def test_total_variation_by_hand() -> None:
    image = torch.tensor([[0.0, 1.0], [0.0, 3.0]])[None, None]
    assert total_variation(image).item() == pytest.approx((0 + 4) / 2 + (1 + 9) / 2)


@pytest.mark.parametrize("term", ["pixel", "perceptual", "adversarial", "total_variation", "grid"])
def test_every_term_sends_gradient_to_the_image(term: str) -> None:
    weights = dict.fromkeys(("pixel", "perceptual", "adversarial", "total_variation"), 0.0) | {term: 0.5}
    loss = GeneratorLoss(**weights, vgg=RANDOM)  # type: ignore[arg-type]
    sr, hr = torch.rand(2, 3, 16, 16, requires_grad=True), torch.rand(2, 3, 16, 16)
    total, terms = loss(sr, hr, fake=sr.mean(dim=(1, 2, 3))[:, None])
    assert list(terms) == [term]
    total.backward()
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_losses_of_half_precision_are_computed_in_float32(kind: str) -> None:
    real, fake = torch.randn(4, 1).half(), torch.randn(4, 1).half()
    game = AdversarialLoss(kind)
    torch.testing.assert_close(game.generator(fake, real), game.generator(fake.float(), real.float()), rtol=0, atol=0)
    expected = game.discriminator(real.float(), fake.float())
    torch.testing.assert_close(game.discriminator(real, fake), expected, rtol=0, atol=0)


def test_total_variation_of_half_precision_does_not_vanish() -> None:
    """The weight 2e-8 of loss=all_terms is 0 in float16, and so are the squares of small differences."""
    sr = (0.5 + 1e-3 * torch.rand(1, 3, 8, 8)).half().requires_grad_()
    with torch.autocast("cpu", torch.float16):
        loss, _ = GeneratorLoss(0, 0, 0, 2e-8)(sr, torch.zeros(1, 3, 8, 8).half())
    assert loss.dtype == torch.float32
    assert loss > 0
    (1e6 * loss).backward()  # as a loss scale does
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0


def test_weights_scale_their_terms() -> None:
    sr, hr, fake = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16), torch.randn(2, 1)
    one = GeneratorLoss(1.0, 0.0, 1.0, 1.0)(sr, hr, fake)[1]
    total, terms = GeneratorLoss(0.5, 0.0, 1e-3, 2e-8)(sr, hr, fake)
    for name, weight in {"pixel": 0.5, "adversarial": 1e-3, "total_variation": 2e-8}.items():
        torch.testing.assert_close(terms[name], weight * one[name])
    torch.testing.assert_close(total, sum(terms.values()))
    torch.testing.assert_close(one["pixel"], (sr - hr).square().mean())


def test_weight_zero_builds_no_vgg() -> None:
    assert GeneratorLoss(1.0, 0.0, vgg={"weights": "there/is/no/such.pth"}).perceptual is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"pixel": -1.0},
        {"pixel": float("nan")},
        {"perceptual": 0.0, "adversarial": 0.0},
        {"perceptual": 0.0, "adversarial_kind": "wgan"},
        {"perceptual": 0.0, "pixel_kind": "l3"},
    ],
)
def test_bad_loss_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"loss\."):
        GeneratorLoss(**arguments)  # type: ignore[arg-type]


@pytest.mark.slow
def test_vgg_is_torchvisions_with_its_normalisation(tmp_path: Path) -> None:
    """The truncated network on [0, 1] equals torchvision's whole network after its published transform."""
    torch.manual_seed(1)
    whole = vgg19(weights=None).features.eval()
    torch.save({f"features.{name}": value for name, value in whole.state_dict().items()}, tmp_path / "vgg.pth")
    image = torch.rand(2, 3, 32, 32)
    preset = VGG19_Weights.IMAGENET1K_V1.transforms()
    mean, std = torch.tensor(preset.mean).view(3, 1, 1), torch.tensor(preset.std).view(3, 1, 1)
    for layer, position in (("relu1_1", 2), ("relu2_2", 9), ("conv5_4", 35), ("relu5_4", 36)):
        expected = whole[:position]((image - mean) / std)
        torch.testing.assert_close(VGGFeatures(layer, str(tmp_path / "vgg.pth"))(image)[0], expected)


def test_vgg_is_frozen_and_its_target_detached() -> None:
    loss = PerceptualLoss("relu2_2", "random")
    assert not any(p.requires_grad for p in loss.parameters())
    sr, hr = (torch.rand(1, 3, 16, 16, requires_grad=True) for _ in range(2))
    loss(sr, hr).backward()
    assert sr.grad is not None
    assert hr.grad is None


def test_partial_vgg_weights(shared: Callable[[str], Path], tmp_path: Path) -> None:
    path = shared("weights/vgg19_conv1_1-conv3_4.safetensors")
    features = VGGFeatures("relu2_2", str(path))
    torch.testing.assert_close(features.layers[0].weight.data, load_file(path)["features.0.weight"])
    with pytest.raises(UserError, match=r"does not reach up to relu5_4: features\.19"):
        VGGFeatures("relu5_4", str(path))


def test_bad_vgg_weights_raise_user_error(tmp_path: Path) -> None:
    (tmp_path / "noise.pth").write_bytes(b"noise")
    save_file({"features.0.weight": torch.zeros(1), "features.0.bias": torch.zeros(64)}, tmp_path / "odd.safetensors")
    for weights, words in (
        (tmp_path / "none.pth", "no such file"),
        (tmp_path / "noise.pth", "cannot be read"),
        (tmp_path / "odd.safetensors", "is not VGG19"),
    ):
        with pytest.raises(UserError, match=words):
            VGGFeatures("relu1_1", str(weights))
    with pytest.raises(UserError, match="not a layer"):
        VGGFeatures("relu9_9", "random")


def test_a_failed_vgg_download_raises_user_error_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(VGG19_Weights, "get_state_dict", fail)
    with pytest.raises(UserError, match=r"loss\.vgg\.weights=PATH.*loss\.perceptual=0"):
        VGGFeatures("relu5_4", "imagenet")


class Charbonnier(GeneratorLoss):
    """A user's own loss, as in docs/recipes.md."""

    def __init__(self, charbonnier: float = 1.0, **others: Any) -> None:
        super().__init__(**others, extra={"charbonnier": charbonnier})


def test_a_users_loss_is_in_the_recipe() -> None:
    only = {"pixel": 0, "perceptual": 0, "adversarial": 0}
    recipe = Charbonnier(0.5, **only).recipe
    assert recipe == {"charbonnier": 0.5, "class": f"{__name__}.Charbonnier"}
    assert "class" not in GeneratorLoss(**{**only, "pixel": 1}).recipe
    with pytest.raises(UserError, match=r"loss\.charbonnier=-1"):
        Charbonnier(-1, **only)
    with pytest.raises(UserError, match="All loss weights are 0"):
        Charbonnier(0, **only)
