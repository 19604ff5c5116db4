"""Upscale images of any size in tiles, with bounded memory."""

import hashlib
import math
import sys
from collections import abc
from collections.abc import Callable, Sequence
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
from srgan_lightning.utils.full_float32 import full_float32
from srgan_lightning.utils.memory import available_memory, gigabytes, memory_of, out_of_memory

TILE = 512
SMALLEST_TILE, LARGEST_TILE = 16, 16384
PRECISIONS = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}
ALPHAS = ("bicubic", "generator", "drop")

Result = TypeVar("Result")
#: A Python generator that yields the finished share in (0, 1], and at its end returns the result.
Progress: TypeAlias = abc.Generator[float, None, Result]


class TiledUpscaler:
    """An upscaler of pictures of any size and kind with one generator.

    Args:
        generator: a trained generator; a copy of it is optimised for inference.
        tile: side of a tile in LR pixels; 0 for the whole image at once. It is halved permanently when memory runs out.
        overlap: overlap of tiles on each side in LR pixels. None: the receptive radius, so that the result equals that
            of the whole image; `OVERLAP` if `receptive_radius` returns None.
        precision: precision of the convolutions for 8-bit pictures: `32`, `bf16` or `16`. 16-bit pictures are always
            computed in full float32, also on GPUs that use TF32 for others.
        alpha: upscale an alpha channel by `bicubic` or by the `generator`, or drop it (`drop`).
        ensemble: average the network's results over the eight flips and rotations of each tile.
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
                f"tile={tile}, overlap={overlap}: give a tile of {SMALLEST_TILE} to {LARGEST_TILE} pixels, or 0 for "
                f"the whole image at once, and an overlap of 0 to {LARGEST_TILE}."
            )
        if precision not in PRECISIONS or alpha not in ALPHAS:
            raise UserError(
                f"precision={precision}, alpha={alpha}: use one of {', '.join(PRECISIONS)} for precision, and one of "
                f"{', '.join(ALPHAS)} for alpha."
            )
        if precision == "16" and not traits_of(generator).supports_half:
            raise UserError("precision=16: this network does not work in float16. Use bf16 or 32.")
        self.generator = fold_batchnorm(generator).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.scale = generator.scale
        self.tile = tile
        self.multiple = tile_multiple(generator)
        #: None until the first picture with several tiles, if the generator's radius must be measured.
        self.overlap = overlap
        if overlap is None and traits_of(generator).receptive_radius is not None:
            self.overlap = receptive_radius(generator)
        exact = overlap is None and self.overlap is not None
        #: For the fingerprint: the overlap, and the tile size if results may depend on it.
        self.seams = (self.overlap,) if exact or tile == TILE else (self.overlap, tile)
        self.precision = PRECISIONS[precision]
        self.alpha, self.ensemble, self.finish = alpha, ensemble, finish

    def fingerprint(self) -> str:
        """Return a hash of weights and options; see `seams` for `tile`."""
        overlap, *tile = self.seams
        options: tuple[Any, ...] = (self.generator.arguments, overlap, self.precision, self.alpha, *tile)
        if self.ensemble or self.finish != Finish():  # defaults are left out to match records of earlier versions
            options += (self.ensemble, self.finish)
        digest = hashlib.sha256(str(options).encode())
        for name, tensor in self.generator.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def upscale(self, picture: Picture) -> Picture:
        """Upscale a picture by `scale`, or to the size of `finish`; keep its kind and metadata.

        Raises:
            UserError: the result or even the smallest tiles do not fit into memory, or SR has NaN or infinity.
        """
        return _finished(self.iter_upscale(picture))

    @torch.inference_mode()
    def upscale_all(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Upscale pictures of equal shape and depth in one batch.

        Args:
            pictures: pictures with the same `colour.shape` and `colour.dtype`.

        Returns:
            The results of `upscale` to within one 8-bit level (257 of 16 bits), as batches may sum in another order.

        Raises:
            UserError: see `upscale`, for any of the pictures.
        """
        if len(pictures) == 1:
            return [self.upscale(pictures[0])]
        colours = _finished(self._run(self._super_resolve, np.stack([picture.colour for picture in pictures])))
        alphas = [_finished(self._alpha(picture)) for picture in pictures]
        return [self._result(*parts) for parts in zip(colours, alphas, pictures, strict=True)]

    @torch.inference_mode()
    def iter_upscale(self, picture: Picture) -> Progress[Picture]:
        """Run `upscale` step by step, for progress bars and cancelling.

        Yield the finished share after each tile, first of the alpha channel if there is one, and then of the colours.
        """
        height, width, channels = picture.shape
        sizes = {(self.scale * height, self.scale * width), self.finish.size_of(height, width, self.scale)}
        result = sum(map(math.prod, sizes)) * channels * picture.colour.itemsize
        if result > (available := available_memory()):
            raise UserError(
                f"its result would take {gigabytes(result)} of memory, and {gigabytes(available)} are available: "
                "crop the image."
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
        """Apply a function to pictures (B, H, W, 1 or 3); if memory runs out, halve first the batch, then the tiles."""
        while True:
            try:
                if self._fits(pixels):
                    return (yield from self._run_tiles(function, pixels))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            # Retry outside the except block, because the traceback keeps the tensors of the failed attempt alive.
            if len(pixels) > 1:
                halves = np.array_split(pixels, 2)
                return np.concatenate([_finished(self._run(function, half)) for half in halves])
            self._halve_tile(max(pixels.shape))

    def _run_tiles(self, function: Callable[[Tensor], Tensor], pixels: Pixels) -> Progress[Pixels]:
        """Map pixels (B, H, W, C) to (B, scale * H, scale * W, C), C = 1 or 3; hold one tile at a time in float32."""
        count, height, width, channels = pixels.shape
        most = np.iinfo(pixels.dtype).max
        device = next(self.generator.parameters()).device
        result = np.empty((count, self.scale * height, self.scale * width, channels), pixels.dtype)
        parts = list(tiles(height, width, self.tile, self._overlap(height, width), self.multiple))
        for done, part in enumerate(parts, start=1):
            crop = pixels[:, *part.crop].astype(np.float32)
            lr = torch.from_numpy(crop).to(device).div(most).permute(0, 3, 1, 2)
            with full_float32() if pixels.dtype == np.uint16 else self._autocast(device):
                sr = function(lr.expand(-1, 3, -1, -1))[..., *part.kept(self.scale)]  # grey is expanded to RGB
            if channels == 1:
                sr = sr.mean(dim=1, keepdim=True)
            if not sr.isfinite().all():  # the picture would become black or white
                raise UserError(
                    "the generator gives NaN or infinity for this picture: its training diverged, or values overflow "
                    "in half precision. Use other weights, or --precision 32."
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
        """Check that features of three layers of LR's size fit into memory, a lower bound of what the network needs."""
        count, height, width, _ = pixels.shape
        overlap = self._overlap(height, width)
        tile = [min((self.tile or side) + 2 * overlap, side) for side in (height, width)]
        size: int = torch.finfo(torch.float32 if pixels.dtype == np.uint16 else self.precision).bits // 8
        needed = 3 * size * count * math.prod(tile) * traits_of(self.generator).lr_features
        return bool(needed <= memory_of(next(self.generator.parameters()).device))

    def _overlap(self, height: int, width: int) -> int:
        """Return the overlap of tiles; the generator's radius is only measured for pictures with several tiles."""
        if self.overlap is None and self.tile and max(height, width) > self.tile:
            radius = receptive_radius(self.generator)
            self.overlap = OVERLAP if radius is None else radius
        return self.overlap or 0

    def _halve_tile(self, longest: int) -> None:
        tile = min(self.tile or longest, longest)
        if tile // 2 < SMALLEST_TILE:
            raise UserError(
                f"there is not enough memory even for tiles of {tile} pixels: free some memory, or use --device cpu."
            )
        self.tile = tile // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(f"Out of memory with tiles of {tile} pixels: continuing with {self.tile}.", file=sys.stderr, flush=True)


def _finished(steps: Progress[Result]) -> Result:
    """Run all steps, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result


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
        image: an image of any mode but F and LAB. Grey (also `I;16`) and alpha are kept; CMYK and palettes become RGB.
        weights: the name of a bundled model, a path, or a generator from `load_generator`.
        tile: see `TiledUpscaler`.
        overlap: see `TiledUpscaler`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        precision: `auto` (`bf16` if the device has it in hardware, else `32`), or see `TiledUpscaler`.
        alpha: see `TiledUpscaler`.
        ensemble: see `TiledUpscaler`.
        outscale: see `Finish`.
        match_colours: see `Finish`.

    Returns:
        An upright image, with the ICC profile and EXIF of the original in its `info`.

    Raises:
        UserError: weights, device, options or image cannot be used.
    """
    generator = load_generator(weights) if isinstance(weights, str | Path) else validate_generator(weights, "weights")
    place, finish = find_device(device), Finish(outscale, match_colours=match_colours)
    precision = choose_precision(precision, place)
    upscaler = TiledUpscaler(generator, tile, overlap, precision, alpha, ensemble, finish)
    upscaler.generator.to(place)
    return to_pil(upscaler.upscale(from_pil(image)))
