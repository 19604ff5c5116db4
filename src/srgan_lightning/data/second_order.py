"""Second-order degradation (Real-ESRGAN): shrink and compress a photo twice, as happens to photos on the web."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from srgan_lightning.data.counter_rng import CounterRNG
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.degrading_stage import KINDS, Stage
from srgan_lightning.data.jpeg import by_arithmetic
from srgan_lightning.data.kernels import filter_images, sinc_kernels, where_kernels
from srgan_lightning.data.noise import add_noise
from srgan_lightning.data.ranges import check_share
from srgan_lightning.imaging.ops import round_to_8_bits
from srgan_lightning.imaging.resampling import MODES, canvas_for, full_size, resize
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.full_float32 import full_float32

Parameters = dict[str, dict[str, Tensor]]


class SecondOrder(Bicubic):
    """Two passes of blur, resizing, noise and JPEG, with a final resize to LR and a sinc filter.

    For half of the images, the final resize and the sinc filter come before the second JPEG; for the other half, after
    it. Parameters are drawn per image.

    Args:
        scale: factor by which LR is smaller.
        clean_probability: share of the images that are plain bicubic.
        first: options of the first pass, on HR; see `Stage`.
        second: options of the second pass, whose resizing factors are relative to LR's size.
        final_sinc_probability: share of the images with a sinc filter at the end.

    Raises:
        UserError: an option is out of its range, or unknown.
    """

    label = "second order"

    def __init__(
        self,
        scale: int = 4,
        clean_probability: float = 0.0,
        first: Mapping[str, Any] | None = None,
        second: Mapping[str, Any] | None = None,
        final_sinc_probability: float = 0.8,
    ) -> None:
        super().__init__(scale)
        self.clean_probability = check_share("degradation.clean_probability", clean_probability)
        self.final_sinc_probability = check_share("degradation.final_sinc_probability", final_sinc_probability)
        self.first, self.second = _stage("first", first), _stage("second", second)

    def parameters_of(self, u: Tensor) -> Parameters:
        """Sample parameters (B,) of both passes and of the final steps (`end`) from `degradation_u` (B,)."""
        rng = CounterRNG(u)
        end = {
            "clean": rng.chance("clean", self.clean_probability),
            "mode": rng.choice("last mode", [1.0] * len(MODES)),
            "sinc": rng.chance("last sinc", self.final_sinc_probability),
            "cutoff": rng.uniform("last cutoff", math.pi / 3, math.pi),
            "side": self.second.sides_of(rng, "last"),
            "jpeg_last": rng.chance("jpeg last", 0.5),
        }
        return {"first": self.first.parameters_of(rng), "second": self.second.parameters_of(rng), "end": end}

    @full_float32()
    def forward(self, hr: Tensor, u: Tensor) -> Tensor:
        """Degrade HR to LR; see `Bicubic.forward`."""
        clean, rng, parameters = self.downsample(hr), CounterRNG(u), self.parameters_of(u)
        size, end = full_size(hr), parameters["end"]
        hr_side, lr_side = (hr.shape[-2], hr.shape[-1]), (clean.shape[-2], clean.shape[-1])
        lr, between = _pass(hr, size, hr_side, self.first, parameters["first"], rng)
        lr = _compress(lr, between, self.first, parameters["first"]["quality"])
        lr, between = _pass(lr, between, lr_side, self.second, parameters["second"], rng)
        quality, lr_size = parameters["second"]["quality"], size // self.scale
        lr = _compress(lr, between, self.second, torch.where(end["jpeg_last"], 0.0, quality))
        lr = resize(lr, between, lr_size, lr_side, end["mode"], antialias=False)
        if self.final_sinc_probability:
            sincs = sinc_kernels(end["cutoff"], end["side"], self.second.largest)
            lr = filter_images(lr, where_kernels(end["sinc"], sincs))
        lr = _compress(round_to_8_bits(lr), lr_size, self.second, torch.where(end["jpeg_last"], quality, 0.0))
        return torch.where(end["clean"][:, None, None, None], round_to_8_bits(clean), lr)

    def describe(self, u: Tensor) -> list[str]:
        """Describe the degradation of each image in words, from its `degradation_u` (B,)."""
        parameters = self.parameters_of(u)
        values = {part: {name: t.tolist() for name, t in of.items()} for part, of in parameters.items()}
        texts: list[str] = []
        for number in range(len(u)):
            first, second, end = ({k: v[number] for k, v in values[part].items()} for part in values)
            last = [f"{MODES[end['mode']]} to LR", *(["sinc"] if end["sinc"] else [])]
            jpeg = [f"JPEG {second['quality']:.0f}"] if second["quality"] else []
            tail = [*last, *jpeg] if end["jpeg_last"] else [*jpeg, *last]
            words = [*_words(first), *([f"JPEG {first['quality']:.0f}"] if first["quality"] else [])]
            texts.append("bicubic" if end["clean"] else "; ".join([*words, *_words(second), *tail]))
        return texts


def _stage(name: str, options: Mapping[str, Any] | None) -> Stage:
    options = options or {}
    given: dict[str, Any] = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in options.items()
    }
    known = [key for key in Stage.__dataclass_fields__ if key != "name"]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise UserError(f"degradation.{name}: unknown options {', '.join(unknown)}; use {', '.join(known)}.")
    return Stage(name, **given)


def _pass(
    images: Tensor, size: Tensor, side: tuple[int, int], stage: Stage, parameters: dict[str, Tensor], rng: CounterRNG
) -> tuple[Tensor, Tensor]:
    """Blur, resize and add noise; return the images and their new sizes, `side` times each image's factor."""
    if stage.blur_probability:
        images = filter_images(images, stage.kernels_of(parameters))
    new_size = (size.new_tensor(side) * parameters["factor"][:, None]).floor().long().clamp(min=1)
    canvas = canvas_for(new_size, (int(side[0] * stage.most), int(side[1] * stage.most)))
    images = resize(images, size, new_size, canvas, parameters["mode"], antialias=False)
    if stage.noise_probability:
        noise = (parameters[name] for name in ("gaussian", "poisson", "grey"))
        images = add_noise(images, new_size, rng, stage.name, *noise)
    return images.clamp(0, 1), new_size


def _compress(images: Tensor, size: Tensor, stage: Stage, quality: Tensor) -> Tensor:
    return by_arithmetic(images, quality, size) if stage.jpeg and stage.jpeg_probability else images


def _words(parameters: dict[str, Any]) -> list[str]:
    """Describe a pass in words, without its JPEG."""
    p, words = parameters, []
    if p["blurred"]:
        turned = f" x {p['second_sigma']:.1f}" if p["second_sigma"] != p["sigma"] else ""
        words = ["sinc" if p["sinc"] else f"{KINDS[p['kind']].replace('_', ' ')} {p['sigma']:.1f}{turned}"]
    words += [f"{MODES[p['mode']]} x {p['factor']:.2f}"] if p["factor"] != 1 else []
    words += [f"noise {p['gaussian']:.0f}"] if p["gaussian"] else []
    words += [f"Poisson {p['poisson']:.1f}"] if p["poisson"] else []
    return words
