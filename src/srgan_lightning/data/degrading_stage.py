"""One pass of the second-order degradation: blur, resize, noise, JPEG, with random parameters for each image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from srgan_lightning.data.counter_rng import CounterRNG
from srgan_lightning.data.kernels import bell_kernels, sinc_kernels, where_kernels
from srgan_lightning.data.ranges import check_kernel, check_range, check_share
from srgan_lightning.imaging.resampling import MODES
from srgan_lightning.utils.errors import UserError

Range = tuple[float, float]
KINDS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
WAYS = ("up", "down", "keep")


@dataclass(frozen=True)
class Stage:
    """The options of one pass. A range gives the limits between which a value is drawn uniformly.

    Args:
        name: `first` or `second`, for messages and for the names of random numbers.
        blur_probability: share of the images that are filtered.
        sinc_probability: share of the filtered images with a circular low-pass (sinc) filter.
        kernels: weights of the kernel kinds for the other filtered images, from `KINDS`.
        sides: smallest and largest side of a kernel in pixels, odd.
        sigma: standard deviations in pixels.
        beta_generalized: exponents of generalised Gaussians; half of the draws are at most 1, half at least 1.
        beta_plateau: exponents of plateau kernels, drawn the same way.
        resize: weights of `up`, `down` and `keep`; None for no resizing.
        factor: smallest resizing factor for `down`, and largest for `up`.
        noise_probability: share of the images with noise.
        gaussian_probability: share of the noisy images with Gaussian noise; the others have Poisson noise.
        gaussian: standard deviations in levels of 255.
        poisson: factors of the Poisson noise.
        grey_probability: share of the noisy images whose noise is the same in all channels.
        jpeg: lowest and highest quality, drawn as in `Bicubic`; None for no compression.
        jpeg_probability: share of the images that are compressed.

    Raises:
        UserError: a number is out of its range, or a kind is unknown.
    """

    name: str
    blur_probability: float = 1.0
    sinc_probability: float = 0.1
    kernels: Mapping[str, float] = field(default_factory=lambda: {"iso": 1.0})
    sides: Range = (7, 21)
    sigma: Range = (0.2, 3.0)
    beta_generalized: Range = (0.5, 4.0)
    beta_plateau: Range = (1.0, 2.0)
    resize: Mapping[str, float] | None = None
    factor: Range = (0.15, 1.5)
    noise_probability: float = 1.0
    gaussian_probability: float = 0.5
    gaussian: Range = (1.0, 30.0)
    poisson: Range = (0.05, 3.0)
    grey_probability: float = 0.4
    jpeg: Sequence[int] | None = (30, 95)
    jpeg_probability: float = 1.0

    def __post_init__(self) -> None:
        option = f"degradation.{self.name}"
        for name in ("blur", "sinc", "noise", "gaussian", "grey", "jpeg"):
            check_share(f"{option}.{name}_probability", getattr(self, f"{name}_probability"))
        limits = {"sigma": (0.01, 100), "beta_generalized": (0.1, 10), "beta_plateau": (0.1, 10), "factor": (0.05, 4)}
        limits |= {"gaussian": (0, 255), "poisson": (0, 100), "sides": (1, 101)}
        for name, (low, high) in limits.items():
            if getattr(self, name) is None:
                raise UserError(
                    f"{option}.{name}=null: give two numbers. To switch a step off, set its probability to 0, or "
                    "resize=null."
                )
            check_range(f"{option}.{name}", getattr(self, name), low, high, null=False)
        for side in self.sides:
            check_kernel(f"{option}.sides", side)  # type: ignore[arg-type]
        check_range(f"{option}.jpeg", self.jpeg, 1, 100)
        _check_weights(f"{option}.kernels", self.kernels, KINDS)
        if self.resize is not None:
            _check_weights(f"{option}.resize", self.resize, WAYS)

    @property
    def largest(self) -> int:
        """Side of the largest kernel."""
        return int(self.sides[1])

    @property
    def most(self) -> float:
        """Largest resizing factor."""
        return max(self.factor[1], 1.0) if self.resize is not None else 1.0

    def sides_of(self, rng: CounterRNG, name: str) -> Tensor:
        """Return odd kernel sides (B,)."""
        low, high = (int(side) // 2 for side in self.sides)
        return rng.uniform(f"{self.name} {name} side", low, high + 1).floor() * 2 + 1

    def parameters_of(self, rng: CounterRNG) -> dict[str, Tensor]:
        """Draw the parameters of each image: tensors (B,) by name.

        `gaussian`, `poisson` and `quality` are 0 for images that skip that step.
        """

        def uniform(name: str, bounds: Sequence[float]) -> Tensor:
            return rng.uniform(f"{self.name} {name}", *bounds)

        def chance(name: str, probability: float) -> Tensor:
            return rng.chance(f"{self.name} {name}", probability)

        def weighted(name: str, weights: Mapping[str, float], names: Sequence[str]) -> Tensor:
            return rng.choice(f"{self.name} {name}", [weights.get(each, 0) for each in names])

        def beta(name: str, bounds: Range) -> Tensor:
            low, high = (min(bounds[0], 1), min(bounds[1], 1)), (max(bounds[0], 1), max(bounds[1], 1))
            return torch.where(chance(f"low {name}", 0.5), uniform(name, low), uniform(name, high))

        kind = weighted("kernel", self.kernels, KINDS)
        sides = self.sides_of(rng, "kernel")
        isotropic, generalized, plateau = kind % 2 == 0, kind // 2 == 1, kind // 2 == 2
        sigma, one = uniform("sigma", self.sigma), torch.ones_like(sides)
        low, high, keep = (self.factor[0], 1.0), (1.0, self.most), one
        way = weighted("resize", self.resize or {"keep": 1.0}, WAYS)
        factor = torch.where(way == 0, uniform("factor", high), torch.where(way == 1, uniform("factor", low), keep))
        noisy, is_gaussian = chance("noisy", self.noise_probability), chance("gaussian", self.gaussian_probability)
        quality = uniform("quality", self.jpeg or (0, 0)).floor()
        betas = torch.where(generalized, beta("beta", self.beta_generalized), one)
        cutoff = torch.where(
            sides < 13, uniform("cutoff", (math.pi / 3, math.pi)), uniform("cutoff", (math.pi / 5, math.pi))
        )
        return {
            "blurred": chance("blurred", self.blur_probability),
            "sinc": chance("sinc", self.sinc_probability),
            "kind": kind,
            "side": sides,
            "sigma": sigma,
            "second_sigma": torch.where(isotropic, sigma, uniform("second sigma", self.sigma)),
            "angle": torch.where(isotropic, 0.0, uniform("angle", (-math.pi, math.pi))),
            "beta": torch.where(plateau, beta("plateau beta", self.beta_plateau), betas),
            "cutoff": cutoff,
            "factor": factor,
            "mode": rng.choice(f"{self.name} mode", [1.0] * len(MODES)),
            "gaussian": torch.where(noisy & is_gaussian, uniform("gaussian level", self.gaussian), 0.0),
            "poisson": torch.where(noisy & ~is_gaussian, uniform("poisson level", self.poisson), 0.0),
            "grey": chance("grey", self.grey_probability),
            "quality": torch.where(chance("compressed", self.jpeg_probability), quality, 0.0),
        }

    def kernels_of(self, parameters: dict[str, Tensor]) -> Tensor:
        """Return the blur kernels (B, K, K), with K the largest side."""
        sigma = torch.stack([parameters["sigma"], parameters["second_sigma"]], dim=1)
        plateau, sides = parameters["kind"] // 2 == 2, parameters["side"]
        bells = bell_kernels(sigma, parameters["angle"], parameters["beta"], plateau, sides, self.largest)
        sincs = sinc_kernels(parameters["cutoff"], sides, self.largest)
        return where_kernels(parameters["blurred"], where_kernels(parameters["sinc"], sincs, bells))


def _check_weights(option: str, weights: Mapping[str, float], names: Sequence[str]) -> None:
    unknown = sorted(set(weights) - set(names))
    if unknown or any(not isinstance(w, int | float) or w < 0 for w in weights.values()) or not sum(weights.values()):
        raise UserError(f"{option}={dict(weights)}: give weights, not all 0, for some of {', '.join(names)}.")
