"""The bundled models are the published files, and better than bicubic on faces outside the training set."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from srgan_lightning.artifacts.artifact import read_artifact
from srgan_lightning.artifacts.bundled import BUNDLED, DEFAULT, bundled_names
from srgan_lightning.artifacts.load import load_generator, load_trained
from srgan_lightning.artifacts.model_card import model_card
from srgan_lightning.data.degradation import Bicubic, Blur
from srgan_lightning.data.synthetic.datamodule import DrawnFaces
from srgan_lightning.metrics.psnr_ssim import PSNRSSIM
from srgan_lightning.networks import UNetDiscriminator
from srgan_lightning.training.discriminator_file import load_discriminator_weights

HASHES = {
    "srresnet-faces-x4": "464c2c611b926701e1073f6cbacf6c8a162aad187077025edee54122c51f7840",
    "srgan-faces-x4": "5c8797ea14602824abc841ea0ffc3fa928afa7ab2efac0ee5921c3f21a7c4004",
    "srresnet-x4": "087de8d453b06251ce759294384a25aea0f341c962db67f5a7d917cd4b9fc3b0",
}


def test_the_files_are_the_published_ones() -> None:
    assert set(bundled_names()) == set(HASHES)
    assert bundled_names()[0] == DEFAULT
    for name, digest in HASHES.items():
        path = BUNDLED / f"{name}.safetensors"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
        assert path.stat().st_size < 3.5e6
        tensors, _ = read_artifact(path)
        assert tensors["tail.weight"].dtype == torch.float16


def test_the_discriminator_in_the_repository_is_the_published_one() -> None:
    path = Path(__file__).parents[2] / "models/srgan-faces-x4-discriminator.safetensors"
    digest = "035f8911eb9b34dba82af767e87b6469ab6c1f35d6d03429357b66ba539e8d63"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    discriminator = UNetDiscriminator(32)
    load_discriminator_weights(discriminator, str(path))
    faces = DrawnFaces(2, 96, seed=99)
    hr = torch.stack([faces.read(index) for index in range(2)]).float() / 255
    lr = Bicubic(4)(hr, torch.zeros(2))
    with torch.inference_mode():
        logits = [discriminator.eval()(images).mean((1, 2, 3)) for images in (hr, load_generator(DEFAULT)(lr))]
    assert (logits[0] > logits[1]).all()  # it prefers HR to its generator's SR


@pytest.mark.parametrize(
    ("name", "degradation", "margin"),
    [
        ("srresnet-x4", Bicubic(4), 0.5),
        ("srgan-faces-x4", Bicubic(4, jpeg=(75, 75)), 0.25),
        ("srgan-faces-x4", Blur(4, kernel=9, sigma=(0.8, 1.2)), 0.5),
        ("srresnet-faces-x4", Bicubic(4), 0.5),
        ("srresnet-faces-x4", Bicubic(4, jpeg=(75, 75)), 0.5),
        ("srresnet-faces-x4", Blur(4, kernel=9, sigma=(0.8, 1.2), jpeg=(50, 50)), 0.5),
    ],
)
def test_they_beat_bicubic_on_drawn_faces(name: str, degradation: Bicubic, margin: float) -> None:
    """Each model gains at least `margin` dB of PSNR-Y on the degradation that it was trained for."""
    faces, scores = DrawnFaces(4, 128, seed=99), PSNRSSIM(4)
    generator = load_trained(name).generator
    for index in range(4):
        hr = faces.read(index)[None].float() / 255
        lr = degradation(hr, torch.tensor([index / 4]))
        with torch.inference_mode():
            scores.update(generator(lr), hr, lr, torch.tensor([index]))
    means = scores.compute()
    assert means["psnr_y"] > means["bicubic_psnr_y"] + margin


@pytest.mark.parametrize("name", HASHES)
def test_their_cards_describe_their_training(name: str) -> None:
    trained = load_trained(name)
    card = model_card(trained.generator.arguments, trained.metadata)
    for fact in ("Public domain", "updates", "seconds", "device", "curve", "final_losses", "psnr_y"):
        assert fact in card


#: PSNR-Y in dB on the first eight photos of portraits/val by the kind of LR, and the minimum gain over bicubic.
KINDS = {
    "sharp": (Bicubic(4), 2.0),
    "JPEG 75": (Bicubic(4, jpeg=(75, 75)), 1.0),
    "JPEG 50": (Bicubic(4, jpeg=(50, 50)), 0.8),
    "blurred": (Blur(4), 2.5),
    "blurred, JPEG 75": (Blur(4, jpeg=(75, 75)), 1.8),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_default_beats_bicubic_on_photos_of_every_kind(kind: str, shared: Callable[[str], Path]) -> None:
    degradation, margin = KINDS[kind]
    generator, scores = load_trained(DEFAULT).generator, PSNRSSIM(4)
    for index, path in enumerate(sorted(shared("data/portraits/val").iterdir())[:8]):
        with Image.open(path) as photo:
            hr = pil_to_tensor(photo.convert("RGB"))[None].float() / 255
        hr = hr[..., : hr.shape[-2] // 4 * 4, : hr.shape[-1] // 4 * 4]
        lr = degradation(hr, torch.tensor([(index + 0.5) / 8]))
        with torch.inference_mode():
            scores.update(generator(lr), hr, lr, torch.tensor([index]))
    means = scores.compute()
    assert means["psnr_y"] > means["bicubic_psnr_y"] + margin
