"""The models that come with the package: the published files, and better than bicubic on faces they have not seen."""

import hashlib

import pytest
import torch

from srgan_lightning.data.degradation import Bicubic, Blur
from srgan_lightning.data.synthetic import DrawnFaces
from srgan_lightning.inference.artifact import read_artifact
from srgan_lightning.inference.bundled import BUNDLED, bundled_names
from srgan_lightning.inference.load import load_trained
from srgan_lightning.inference.model_card import model_card
from srgan_lightning.metrics import Scores

HASHES = {
    "srgan-faces-x4": "9a3f728b1260589bcca6b9624d1ea4ce7faef8d7945ddadb67054124451b276a",
    "srresnet-x4": "52b35bff4941a22e200c5070213290977f60fba3c57181dd572d7c9122d00259",
}


def test_the_files_are_the_published_ones() -> None:
    assert bundled_names() == sorted(HASHES)
    for name, digest in HASHES.items():
        path = BUNDLED / f"{name}.safetensors"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
        assert path.stat().st_size < 3.5e6
        tensors, _ = read_artifact(path)
        assert tensors["tail.weight"].dtype == torch.float16


@pytest.mark.parametrize(
    ("name", "degradation", "margin"),
    [("srresnet-x4", Bicubic(4), 0.5), ("srgan-faces-x4", Blur(4, kernel=9, sigma=(0.8, 1.2)), 0.5)],
)
def test_they_beat_bicubic_on_drawn_faces(name: str, degradation: Bicubic, margin: float) -> None:
    """By at least `margin` dB of PSNR-Y, each on the degradation that it was made for."""
    faces, scores = DrawnFaces(4, 128, seed=99), Scores(4)
    generator = load_trained(name).generator
    for index in range(4):
        hr = faces.read(index)[None].float() / 255
        lr = degradation(hr, torch.tensor([index / 4]))
        with torch.inference_mode():
            scores.update(generator(lr), hr, lr, torch.tensor([index]))
    means = scores.compute()
    assert means["psnr_y"] > means["bicubic_psnr_y"] + margin


@pytest.mark.parametrize("name", HASHES)
def test_their_cards_tell_how_they_were_made(name: str) -> None:
    trained = load_trained(name)
    card = model_card(trained.generator.arguments, trained.about)
    for fact in ("Public domain", "updates", "seconds", "device", "curve", "final_losses", "psnr_y"):
        assert fact in card
