"""The perceptual loss of several layers, and its scale, which does not depend on VGG19's file."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models import VGG19_Weights, vgg19

from srgan_lightning.losses import GeneratorLoss, PerceptualLoss, VGGFeatures
from srgan_lightning.losses.vgg_features import reference_picture
from srgan_lightning.utils.errors import UserError

#: Weights by layer, and the number of torchvision's layers up to each. The layer before relu1_2 is also chosen.
LAYERS = {"conv1_2": 0.1, "relu1_2": 0.3, "conv3_4": 1.0, "relu2_2": 2.0}
POSITIONS = {"conv1_2": 3, "relu1_2": 4, "conv3_4": 17, "relu2_2": 9}
CONV3_4 = 17


@pytest.fixture(scope="module")
def whole() -> nn.Sequential:
    torch.manual_seed(0)
    return vgg19(weights=None).features.eval()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def file(whole: nn.Sequential, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("vgg") / "vgg.safetensors", whole[:CONV3_4])


def write(path: Path, layers: nn.Module) -> str:
    save_file({f"features.{name}": value for name, value in layers.state_dict().items()}, path)
    return str(path)


def pictures(side: int = 32) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    sr, hr = torch.rand(2, 2, 3, side, side, generator=random)
    return sr.requires_grad_(), hr


def features(whole: nn.Sequential, layer: str, image: Tensor) -> Tensor:
    """Compute features by torchvision's network, truncated after the layer, with torchvision's normalisation."""
    preset = VGG19_Weights.IMAGENET1K_V1.transforms()
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (preset.mean, preset.std))
    result: Tensor = whole[: POSITIONS[layer]]((image - mean) / std)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("distance", ["mse", "l1"])
@pytest.mark.parametrize("normalize", [False, True])
def test_several_layers_are_the_weighted_sum_of_torchvisions(
    whole: nn.Sequential, file: str, distance: str, normalize: bool
) -> None:
    sr, hr = pictures()
    expected = 0.0
    with torch.no_grad():
        for layer, weight in LAYERS.items():
            measured = features(whole, layer, reference_picture().float())
            scale = measured.square().mean().sqrt() if normalize else 1.0
            difference = (features(whole, layer, sr) - features(whole, layer, hr)) / scale
            expected += weight * float(difference.abs().mean() if distance == "l1" else difference.square().mean())
    loss = PerceptualLoss(weights=file, layers=LAYERS, distance=distance, normalize=normalize)(sr, hr)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("normalize", [False, True])
def test_each_layer_sends_its_gradient_to_sr(file: str, normalize: bool) -> None:
    sr, hr = pictures()

    def gradient(layers: dict[str, float]) -> Tensor:
        loss = PerceptualLoss(weights=file, layers=layers, distance="l1", normalize=normalize)(sr, hr)
        return torch.autograd.grad(loss, sr)[0]

    each = [gradient({layer: weight}) for layer, weight in LAYERS.items()]
    assert all(x.abs().sum() > 0 for x in each)
    torch.testing.assert_close(gradient(LAYERS), sum(each), rtol=1e-4, atol=1e-9)


def test_one_pass_serves_all_layers(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, passes = PerceptualLoss(weights=file, layers=LAYERS), []
    loss.features.layers[0].register_forward_hook(lambda *_: passes.append(1))
    loss(*pictures())
    assert len(passes) == 2  # HR and SR


def test_one_layer_is_as_before(file: str) -> None:
    sr, hr = pictures()
    one = PerceptualLoss("relu2_2", file)
    (x,), (y,) = one.features(sr), one.features(hr)
    assert one(sr, hr) == (x - y).square().mean()
    torch.testing.assert_close(PerceptualLoss(weights=file, layers={"relu2_2": 1})(sr, hr), one(sr, hr))


@pytest.mark.parametrize("distance", ["mse", "l1"])
def test_a_file_of_another_scale_gives_the_same_normalised_loss(file: str, tmp_path: Path, distance: str) -> None:
    """Multiply the first filters and all biases by 100, so that all features grow 100-fold."""
    state = {key: value if "weight" in key else 100 * value for key, value in load_file(file).items()}
    state["features.0.weight"] = 100 * state["features.0.weight"]
    save_file(state, tmp_path / "loud.safetensors")
    sr, hr = pictures()

    def loss(weights: str, normalize: bool) -> float:
        return PerceptualLoss("relu5_4", weights, LAYERS, distance, normalize)(sr, hr).item()

    loud = str(tmp_path / "loud.safetensors")
    assert loss(loud, False) == pytest.approx(loss(file, False) * (1e4 if distance == "mse" else 100), rel=1e-4)
    assert loss(loud, True) == pytest.approx(loss(file, True), rel=1e-5)


def test_normalised_features_of_photos_have_unit_size(shared: Callable[[str], Path]) -> None:
    from srgan_lightning.data.folder import ImageFolder

    photos = ImageFolder(shared("data/Set5/HR"), "hr_dir")
    network = VGGFeatures(["conv1_2", "conv2_2", "conv3_4"], vgg_file(shared), normalize=True)
    for index in range(len(photos)):
        for x in network(photos.read(index)[None, :, 64:192, 64:192] / 255):
            assert 0.4 < x.square().mean().sqrt() < 2.5


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("normalize", [False, True])
def test_half_precision_is_near_float32(shared: Callable[[str], Path], dtype: torch.dtype, normalize: bool) -> None:
    """Features of Oxford's weights are in the thousands, so their squares exceed float16's range."""
    layers = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0}
    sr, hr = pictures()
    for distance in ("mse", "l1"):
        loss = PerceptualLoss("relu5_4", vgg_file(shared), layers, distance, normalize)
        whole = loss(sr, hr)
        with torch.autocast("cpu", dtype):
            half = loss(sr, hr)
        assert half.dtype == torch.float32
        assert half.item() == pytest.approx(whole.item(), rel=0.02)
        (expected,) = torch.autograd.grad(whole, sr)
        (gradient,) = torch.autograd.grad(half, sr)
        assert torch.cosine_similarity(gradient.flatten(), expected.flatten(), dim=0) > 0.99


def vgg_file(shared: Callable[[str], Path]) -> str:
    return str(shared("weights/vgg19_conv1_1-conv3_4.safetensors"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": {"conv1_2": 1.0, "conv4_4": 1.0}}, "does not reach up to conv4_4"),
        ({"layers": {"conv9_1": 1.0}}, "'conv9_1' is not a layer of VGG19"),
        ({"layers": {"conv1_2": 0}}, "leaves no layer"),
        ({"layers": {"conv1_2": -1}}, r"loss\.vgg\.layers\.conv1_2=-1: a weight is a number from 0 up"),
        ({"layers": {"conv1_2": float("nan")}}, "a weight is a number from 0 up"),
        ({"layers": ["conv1_2"]}, "give weights by layer"),
        ({"layer": "relu1_2", "distance": "l3"}, r"loss\.vgg\.distance='l3' is unknown: use one of mse, l1"),
    ],
)
def test_wrong_layers_are_refused(file: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        PerceptualLoss(weights=file, **options)  # type: ignore[arg-type]


def test_an_empty_file_cannot_be_normalised(file: str, tmp_path: Path) -> None:
    save_file({key: torch.zeros_like(value) for key, value in load_file(file).items()}, tmp_path / "zero.safetensors")
    with pytest.raises(UserError, match=r"cannot be normalised.*loss\.vgg\.normalize=false"):
        VGGFeatures("relu2_2", str(tmp_path / "zero.safetensors"), normalize=True)


def test_the_recipe_names_what_was_chosen(file: str) -> None:
    only = {"pixel": 0.0, "adversarial": 0.0, "perceptual": 1.0}
    assert GeneratorLoss(**only, vgg={"layer": "relu2_2", "weights": file}).recipe == {  # type: ignore[arg-type]
        "perceptual": 1.0,
        "vgg_layer": "relu2_2",
    }
    vgg = {"layers": {"conv1_2": 1, "conv5_4": 0}, "weights": file, "distance": "l1", "normalize": True}
    assert GeneratorLoss(**only, vgg=vgg).recipe == {  # type: ignore[arg-type]
        "perceptual": 1.0,
        "vgg_layers": {"conv1_2": 1.0},
        "vgg_distance": "l1",
        "vgg_normalize": True,
    }


@pytest.mark.slow
def test_groups_have_the_published_numbers(configure: Callable[..., DictConfig], shared: Callable[[str], Path]) -> None:
    def chosen(*options: str) -> dict[str, object]:
        return instantiate(configure(*options).loss).recipe  # type: ignore[no-any-return]

    assert chosen("loss=esrgan", "loss.vgg.weights=random") == {
        **{
            "pixel": 0.01,
            "pixel_kind": "l1",
            "perceptual": 1.0,
            "adversarial": 5e-3,
            "adversarial_kind": "relativistic",
        },
        **{"vgg_layer": "conv5_4", "vgg_distance": "l1"},
    }
    assert chosen("loss=real_esrgan", "loss.vgg.weights=random") == {
        **{"pixel": 1.0, "pixel_kind": "l1", "perceptual": 1.0, "adversarial": 0.1, "adversarial_kind": "bce"},
        "vgg_layers": {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0},
        "vgg_distance": "l1",
    }
    layers = "loss.vgg.layers={conv1_2: 0.5, conv2_2: 0}"  # merged into the group's
    offline = chosen("loss=vgg_layers", f"loss.vgg.weights={vgg_file(shared)}", layers)
    assert offline["vgg_layers"] == {"conv1_2": 0.5, "conv3_4": 1.0}
    assert chosen("loss=srgan_vgg22", "loss.vgg.weights=random", layers)["vgg_layers"] == {"conv1_2": 0.5}
