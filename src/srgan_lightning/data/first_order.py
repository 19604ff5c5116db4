"""First-order degradation, like a photo that was blurred, shrunk and compressed once: blur, resize, noise, JPEG."""

import math

import torch
from torch import Tensor

from srgan_lightning.data.counter_rng import CounterRNG
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.jpeg import by_arithmetic
from srgan_lightning.data.kernels import bell_kernels, filter_images, where_kernels
from srgan_lightning.data.noise import add_noise
from srgan_lightning.data.ranges import check_kernel, check_range, check_share
from srgan_lightning.imaging.ops import round_to_8_bits
from srgan_lightning.imaging.resampling import MODES, canvas_for, full_size, resize
from srgan_lightning.utils.full_float32 import full_float32


class FirstOrder(Bicubic):
    """Blur HR, shrink it to LR through a random intermediate size, add Gaussian noise, and compress it as JPEG.

    Parameters are drawn per image. With every stage switched off, LR is plain bicubic.

    Args:
        scale: factor by which LR is smaller.
        clean_probability: share of the images that are plain bicubic; the other shares are shares of the rest.
        kernel: side of the blur kernel in HR pixels, odd.
        sigma: standard deviations of the Gaussian in HR pixels, drawn uniformly; None for no blur.
        blur_probability: share of the images that are blurred.
        anisotropic: share of the blurred images whose Gaussian has two sigmas and a random direction.
        shrink: factors by which HR is shrunk to the intermediate size, drawn uniformly; None for no intermediate size.
        noise: standard deviations in levels of 255, drawn uniformly; None for no noise.
        noise_probability: share of the images with noise.
        jpeg: see `Bicubic`.
        jpeg_probability: see `Bicubic`.

    Raises:
        UserError: a number is out of its range.
    """

    label = "first order"

    def __init__(
        self,
        scale: int = 4,
        clean_probability: float = 0.0,
        kernel: int = 41,
        sigma: tuple[float, float] | None = (0.1, 10.0),
        blur_probability: float = 1.0,
        anisotropic: float = 0.5,
        shrink: tuple[float, float] | None = (0.8, 8.0),
        noise: tuple[float, float] | None = (0.0, 20.0),
        noise_probability: float = 1.0,
        jpeg: tuple[int, int] | None = (60, 100),
        jpeg_probability: float = 1.0,
    ) -> None:
        super().__init__(scale, jpeg, jpeg_probability)
        shares = {"clean_probability": clean_probability, "blur_probability": blur_probability}
        shares |= {"anisotropic": anisotropic, "noise_probability": noise_probability}
        for name, share in shares.items():
            check_share(f"degradation.{name}", share)
        self.kernel = check_kernel("degradation.kernel", kernel)
        self.sigma = check_range("degradation.sigma", sigma, 0.01, 1000)
        self.shrink = check_range("degradation.shrink", shrink, 0.25, 64)
        self.noise = check_range("degradation.noise", noise, 0, 255)
        self.clean_probability, self.blur_probability = clean_probability, blur_probability
        self.anisotropic, self.noise_probability = anisotropic, noise_probability

    def parameters_of(self, u: Tensor) -> dict[str, Tensor]:
        """Draw the parameters of each image from its `degradation_u` (B,): tensors (B,) by name.

        `noise` and `quality` are 0 for images that skip that stage.
        """
        rng, zero = CounterRNG(u), torch.zeros_like(u, dtype=torch.float32)
        first = rng.uniform("sigma", *(self.sigma or (0, 0)))
        second = rng.uniform("second sigma", *(self.sigma or (0, 0)))
        turned = rng.chance("anisotropic", self.anisotropic)
        quality = rng.uniform("quality", *(self.jpeg or (0, 0)))
        noise = rng.uniform("noise level", *(self.noise or (0, 0)))
        return {
            "clean": rng.chance("clean", self.clean_probability),
            "blurred": rng.chance("blurred", self.blur_probability if self.sigma else 0),
            "sigma": first,
            "second_sigma": torch.where(turned, second, first),
            "angle": torch.where(turned, rng.uniform("angle", -math.pi, math.pi), zero),
            "shrink": rng.uniform("shrink", *(self.shrink or (0, 0))),
            "noise": torch.where(rng.chance("noisy", self.noise_probability), noise, zero),
            "quality": torch.where(rng.chance("compressed", self.jpeg_probability), quality, zero).floor(),
        }

    @full_float32()
    def forward(self, hr: Tensor, u: Tensor) -> Tensor:
        """Degrade HR to LR; see `Bicubic.forward`."""
        clean = self.downsample(hr)
        parameters = self.parameters_of(u)
        lr = self._shrunk(self._blurred(hr, parameters), parameters)
        size = full_size(lr)
        if self.noise and self.noise_probability:
            none = torch.zeros_like(parameters["noise"])
            lr = add_noise(lr, size, CounterRNG(u), "", parameters["noise"], none, none > 0)
        lr = round_to_8_bits(lr)
        if self.jpeg and self.jpeg_probability:
            lr = by_arithmetic(lr, parameters["quality"])
        return torch.where(parameters["clean"][:, None, None, None], round_to_8_bits(clean), lr)

    def _blurred(self, hr: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        if not self.sigma or not self.blur_probability:
            return hr
        sigma = torch.stack([parameters["sigma"], parameters["second_sigma"]], dim=1)
        one = torch.ones_like(parameters["sigma"])
        kernels = bell_kernels(sigma, parameters["angle"], one, one < 0, one * self.kernel, self.kernel)
        return filter_images(hr, where_kernels(parameters["blurred"], kernels))

    def _shrunk(self, hr: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        if not self.shrink:
            return self.downsample(hr)
        size, lr_side = full_size(hr), (hr.shape[-2] // self.scale, hr.shape[-1] // self.scale)
        between = (size / parameters["shrink"][:, None]).floor().long().clamp(min=1)
        largest = (int(hr.shape[-2] / self.shrink[0]) + 1, int(hr.shape[-1] / self.shrink[0]) + 1)
        mode = torch.full_like(size[:, 0], MODES.index("bilinear"))
        lr = resize(hr, size, between, canvas_for(between, largest), mode, antialias=True)
        return resize(lr, between, size // self.scale, lr_side, mode, antialias=True)

    def describe(self, u: Tensor) -> list[str]:
        """Describe the degradation of each image in words, from its `degradation_u` (B,)."""
        values = {name: value.tolist() for name, value in self.parameters_of(u).items()}
        texts: list[str] = []
        for number in range(len(u)):
            p = {name: value[number] for name, value in values.items()}
            if p["clean"]:
                texts.append("bicubic")
                continue
            sigmas = f"{p['sigma']:.1f}"
            if p["sigma"] != p["second_sigma"]:
                sigmas += f" x {p['second_sigma']:.1f}, {math.degrees(p['angle']):.0f}°"
            parts = [f"blur {sigmas}"] if p["blurred"] else []
            parts += [f"size / {p['shrink']:.1f}"] if self.shrink else []
            parts += [f"noise {p['noise']:.0f}"] if p["noise"] else []
            parts += [f"JPEG {p['quality']:.0f}"] if p["quality"] else []
            texts.append("; ".join(parts) or "bicubic")
        return texts
