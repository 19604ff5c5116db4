"""Upscaling one image: tiles in, a whole image out, with bounded memory."""

import hashlib
import math
import sys
from collections import abc
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from srgan_lightning.artifacts.bundled import DEFAULT, DEFAULT_PRECISION
from srgan_lightning.artifacts.load import load_generator
from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.imaging.picture import Picture, Pixels, from_pil, to_pil
from srgan_lightning.imaging.tiles import tiles
from srgan_lightning.inference.batchnorm_fusion import fold_batchnorm
from srgan_lightning.inference.finishing import Finish
from srgan_lightning.inference.self_ensemble import self_ensemble
from srgan_lightning.inference.tiling import OVERLAP, receptive_radius, tile_multiple
from srgan_lightning.networks.contract import SRModule, run_padded, traits_of, validate_generator
from srgan_lightning.utils.bf16 import choose_precision
from srgan_lightning.utils.device import find_device
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.memory import available_memory, gigabytes, memory_of, out_of_memory

TILE = 512
SMALLEST_TILE, LARGEST_TILE = 16, 16384
PRECISIONS = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}
ALPHAS = ("bicubic", "generator", "drop")

Result = TypeVar("Result")
#: Work that yields the share that is done, in (0, 1], and returns its result.
Progress: TypeAlias = abc.Generator[float, None, Result]


class TiledUpscaler:
    """Upscales pictures of any size and kind with one generator.

    Args:
        generator: a trained one; it is copied, and the copy made fast for inference.
        tile: side of a tile in LR pixels; 0 for the whole image at once. Out of memory, it halves for good.
        overlap: how far tiles look beyond their edges, in LR pixels. None: as far as the generator sees, so that the
            result is that of the whole image; `OVERLAP` for one that sees farther, and does not say it.
        precision: of the convolutions of 8-bit pictures: `32`, `bf16` or `16`. 16-bit pictures get all of float32's
            bits, on GPUs too, where others are convolved in TF32.
        alpha: an alpha channel is upscaled by `bicubic` or the `generator`, or dropped (`drop`).
        ensemble: average over the eight flips and turns of each tile; for the network's passes alone.
        finish: colours and size of the result.

    Raises:
        UserError: an option is out of its range.
    """

    def __init__(
        self,
        generator: SRModule,
        tile: int = TILE,
        overlap: int | None = None,
        precision: str = "32",
        alpha: str = "bicubic",
        ensemble: bool = False,
        finish: Finish = Finish(),  # noqa: B008  # frozen
    ) -> None:
        if (tile and not SMALLEST_TILE <= tile <= LARGEST_TILE) or not 0 <= (overlap or 0) <= LARGEST_TILE:
            raise UserError(
                f"tile={tile}, overlap={overlap}: a tile is {SMALLEST_TILE} to {LARGEST_TILE} pixels, or 0 for the "
                f"whole image at once; an overlap is 0 to {LARGEST_TILE}."
            )
        if precision not in PRECISIONS or alpha not in ALPHAS:
            raise UserError(
                f"precision={precision}, alpha={alpha}: precision is one of {', '.join(PRECISIONS)}, alpha one of "
                f"{', '.join(ALPHAS)}."
            )
        if precision == "16" and not traits_of(generator).supports_half:
            raise UserError("precision=16: this network does not work in float16: take bf16, or 32.")
        self.generator = fold_batchnorm(generator).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.scale = generator.scale
        self.tile = tile
        self.multiple = tile_multiple(generator)
        #: None until there are tiles, where the generator's radius has to be measured.
        self.overlap = overlap
        if overlap is None and traits_of(generator).receptive_radius is not None:
            self.overlap = receptive_radius(generator)
        self.precision = PRECISIONS[precision]
        self.alpha, self.ensemble, self.finish = alpha, ensemble, finish

    def fingerprint(self) -> str:
        """Equal for upscalers of equal weights and options, whose results are equal too."""
        options: tuple[Any, ...] = (self.generator.arguments, self.overlap, self.precision, self.alpha)
        if self.ensemble or self.finish != Finish():  # results of earlier versions stay known without them
            options += (self.ensemble, self.finish)
        digest = hashlib.sha256(str(options).encode())
        for name, tensor in self.generator.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def upscale(self, picture: Picture) -> Picture:
        """`scale` times as high and wide, or as `finish` says, of the same kind and with the same metadata.

        Raises:
            UserError: not even tiles of 16 pixels fit into memory.
        """
        return _finished(self.iter_upscale(picture))

    @torch.inference_mode()
    def upscale_all(self, pictures: Sequence[Picture]) -> list[Picture]:
        """`upscale` for pictures of one shape and depth, which pass through the generator together.

        Args:
            pictures: some, of equal `colour.shape` and `colour.dtype`.

        Returns:
            What `upscale` gives for each, to one level of 8 bits (257 of 16): a device may add up in another order.

        Raises:
            UserError: as `upscale`, for any of them.
        """
        if len(pictures) == 1:
            return [self.upscale(pictures[0])]
        colours = _finished(self._run(self._super_resolve, np.stack([picture.colour for picture in pictures])))
        alphas = [_finished(self._alpha(picture)) for picture in pictures]
        return [self._result(*parts) for parts in zip(colours, alphas, pictures, strict=True)]

    @torch.inference_mode()
    def iter_upscale(self, picture: Picture) -> Progress[Picture]:
        """`upscale` for those who show progress or may stop: yields the share that is done after each tile."""
        height, width, channels = picture.shape
        sizes = {(self.scale * height, self.scale * width), self.finish.size_of(height, width, self.scale)}
        result = sum(map(math.prod, sizes)) * channels * picture.colour.itemsize
        if result > (available := available_memory()):
            raise UserError(
                f"its result would take {gigabytes(result)} of memory, and {gigabytes(available)} are available: "
                "cut it up."
            )
        alpha = yield from self._alpha(picture)
        colour = yield from self._run(self._super_resolve, picture.colour[None])
        return self._result(colour[0], alpha, picture)

    def _alpha(self, picture: Picture) -> Progress[Pixels | None]:
        if picture.alpha is None or self.alpha == "drop":
            return None
        function = self._bicubic if self.alpha == "bicubic" else self._super_resolve
        result = yield from self._run(function, picture.alpha[None])
        return np.asarray(result[0])

    def _result(self, colour: Pixels, alpha: Pixels | None, picture: Picture) -> Picture:
        sr = Picture(colour, alpha, picture.icc, picture.exif, list(picture.notes))
        return self.finish.apply(sr, picture)

    def _run(self, function: Callable[[Tensor], Tensor], pixels: Pixels) -> Progress[Pixels]:
        """Several pictures, (B, H, W, 1 or 3); out of memory, first half as many, then smaller tiles."""
        while True:
            try:
                if self._fits(pixels):
                    return (yield from self._run_tiles(function, pixels))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            # Outside the handler, whose traceback keeps the tensors of the failed attempt alive.
            if len(pixels) > 1:
                halves = np.array_split(pixels, 2)
                return np.concatenate([_finished(self._run(function, half)) for half in halves])
            self._halve_tile(max(pixels.shape))

    def _run_tiles(self, function: Callable[[Tensor], Tensor], pixels: Pixels) -> Progress[Pixels]:
        """(B, H, W, 1 or 3) to (B, scale * H, scale * W, same); only one tile at a time is held as float32."""
        count, height, width, channels = pixels.shape
        most = np.iinfo(pixels.dtype).max
        device = next(self.generator.parameters()).device
        result = np.empty((count, self.scale * height, self.scale * width, channels), pixels.dtype)
        parts = list(tiles(height, width, self.tile, self._overlap(height, width), self.multiple))
        for done, part in enumerate(parts, start=1):
            crop = pixels[:, *part.crop].astype(np.float32)
            lr = torch.from_numpy(crop).to(device).div(most).permute(0, 3, 1, 2)
            with full_float32() if pixels.dtype == np.uint16 else self._autocast(device):
                sr = function(lr.expand(-1, 3, -1, -1))[..., *part.kept(self.scale)]  # grey runs as RGB
            if channels == 1:
                sr = sr.mean(dim=1, keepdim=True)
            if not sr.isfinite().all():  # black or white pictures otherwise
                raise UserError(
                    "the generator gives NaN or infinity for this picture: its weights are those of a training that "
                    "diverged, or overflow in half precision. Take other weights, or --precision 32."
                )
            sr = sr.clamp(0, 1).mul(most).round().permute(0, 2, 3, 1)
            result[:, *part.target(self.scale)] = sr.cpu().numpy()
            yield done / len(parts)
        return result

    def _super_resolve(self, lr: Tensor) -> Tensor:
        return (self_ensemble(self._forward) if self.ensemble else self._forward)(lr)

    def _forward(self, lr: Tensor) -> Tensor:
        return run_padded(self.generator, lr.contiguous(memory_format=torch.channels_last)).float()

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32)

    def _bicubic(self, lr: Tensor) -> Tensor:
        height, width = lr.shape[-2:]
        return resize_bicubic(lr, (self.scale * height, self.scale * width))

    def _fits(self, pixels: Pixels) -> bool:
        """Whether there is memory for the three layers of features that the trunk holds at once; a lower bound."""
        count, height, width, _ = pixels.shape
        overlap = self._overlap(height, width)
        tile = [min((self.tile or side) + 2 * overlap, side) for side in (height, width)]
        size: int = torch.finfo(torch.float32 if pixels.dtype == np.uint16 else self.precision).bits // 8
        needed = 3 * size * count * math.prod(tile) * traits_of(self.generator).lr_features
        return bool(needed <= memory_of(next(self.generator.parameters()).device))

    def _overlap(self, height: int, width: int) -> int:
        """How far tiles look beyond their edges; how far the generator sees is measured where there are tiles alone."""
        if self.overlap is None and self.tile and max(height, width) > self.tile:
            radius = receptive_radius(self.generator)
            self.overlap = OVERLAP if radius is None else radius
        return self.overlap or 0

    def _halve_tile(self, longest: int) -> None:
        tile = min(self.tile or longest, longest)
        if tile // 2 < SMALLEST_TILE:
            raise UserError(
                f"there is not enough memory even with tiles of {tile} pixels: free some, or use --device cpu."
            )
        self.tile = tile // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(f"Out of memory with tiles of {tile} pixels: going on with {self.tile}.", file=sys.stderr, flush=True)


def _finished(steps: Progress[Result]) -> Result:
    """The result of work, without its progress."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result


@contextmanager
def full_float32() -> abc.Iterator[None]:
    """Convolve in all 24 bits of float32: NVIDIA GPUs round to TF32's 11 otherwise, too few for 16-bit pixels."""
    cudnn = torch.backends.cudnn
    precision, tf32 = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = tf32
        torch.set_float32_matmul_precision(precision)


def upscale_image(
    image: Image.Image,
    weights: str | Path | SRModule = DEFAULT,
    *,
    tile: int = TILE,
    overlap: int | None = None,
    device: str = "auto",
    precision: str = DEFAULT_PRECISION,
    alpha: str = "bicubic",
    ensemble: bool = False,
    outscale: float | None = None,
    match_colours: bool = False,
) -> Image.Image:
    """Upscale an image.

    Args:
        image: of any mode. Grey stays grey, `I;16` 16-bit, alpha is kept; CMYK and palettes become RGB.
        weights: the name of a bundled model, a path, or a generator from `load_generator`.
        tile: see `TiledUpscaler`.
        overlap: see `TiledUpscaler`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        precision: `auto`, which is `bf16` where the device is fast in it; or see `TiledUpscaler`.
        alpha: see `TiledUpscaler`.
        ensemble: see `TiledUpscaler`.
        outscale: see `Finish`.
        match_colours: see `Finish`.

    Returns:
        An upright image, with the ICC profile and EXIF of the original in its `info`.

    Raises:
        UserError: weights, device, options or image that cannot be used.
    """
    generator = load_generator(weights) if isinstance(weights, str | Path) else validate_generator(weights, "weights")
    place, finish = find_device(device), Finish(outscale, match_colours=match_colours)
    precision = choose_precision(precision, place)
    upscaler = TiledUpscaler(generator, tile, overlap, precision, alpha, ensemble, finish)
    upscaler.generator.to(place)
    return to_pil(upscaler.upscale(from_pil(image)))
