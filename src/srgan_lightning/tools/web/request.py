"""Run a visitor's request: files in, files and a caption out. Nothing here depends on Gradio."""

import math
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from srgan_lightning.artifacts.bundled import DEFAULT_PRECISION
from srgan_lightning.artifacts.load import Trained, load_trained
from srgan_lightning.imaging.files import TooManyPixelsError, read_picture, write_picture
from srgan_lightning.imaging.picture import Picture
from srgan_lightning.imaging.reading import MAX_PIXELS
from srgan_lightning.imaging.resizing import resize_picture
from srgan_lightning.inference.blending import blend
from srgan_lightning.inference.finishing import Finish
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.metrics.psnr_ssim import psnr_ssim
from srgan_lightning.metrics.score_format import format_score
from srgan_lightning.networks import SRModule
from srgan_lightning.utils.bf16 import choose_precision
from srgan_lightning.utils.errors import UserError, printable
from srgan_lightning.utils.markdown import markdown_table, markdown_text

PROTOCOL = "By the protocol of `evaluate`: Y of BT.601, 8 bits, {} pixels of border cut off."

#: Advice for photos that are too large for the page.
COMMAND = "Use the command line for larger photos: python -m srgan_lightning.upscale PHOTO -o RESULTS."
MAX_SCORED_PIXELS = 32_000_000  # scoring takes about 47 MB of memory per million pixels
#: Largest scale of a visitor's network. With any outscale, a result has at most MAX_SCALE**2 * `max_pixels` pixels.
MAX_SCALE = 8


@dataclass(frozen=True)
class UpscaleRequest:
    """One photo to upscale.

    Args:
        photo: an image file.
        weights: a name or file for `load_trained`.
        second: weights to be blended with the first, or None.
        amount: share of the second weights, 0 to 1.
        truth: an image file of the result's size, for scores, or None.
        precision: see `upscale_image`.
        outscale: see `Finish`; None for the network's scale.
    """

    photo: Path
    weights: str | Path
    second: str | Path | None = None
    amount: float = 0.0
    truth: Path | None = None
    precision: str = DEFAULT_PRECISION
    outscale: float | None = None


@dataclass(frozen=True)
class UpscaleResult:
    """The files and the caption of a finished request.

    Args:
        bicubic: a PNG file with the photo upscaled by bicubic interpolation.
        sr: a PNG file of the same size with the result.
        caption: sizes, time, device and scores, in Markdown.
    """

    bicubic: Path
    sr: Path
    caption: str


def run_request(
    request: UpscaleRequest, device: torch.device, max_pixels: int, folder: Path
) -> Iterator[float | UpscaleResult]:
    """Upscale a photo; yield the finished share after each tile, and finally the result.

    Args:
        request: the request.
        device: device of the network.
        max_pixels: maximum number of pixels of a photo.
        folder: a folder; the result is written to a new subfolder with a random name.

    Raises:
        UserError: a file is invalid, too large, or does not match the others.
    """
    finish = Finish(request.outscale)
    if request.outscale is not None and request.truth is not None:
        raise UserError("Scores need the network's own size: set outscale to 0, or remove the original.")
    name, generator = _generator(request)
    scale = generator.scale
    photo = _read(request.photo, max_pixels, "The photo")
    size = finish.size_of(*photo.shape[:2], scale)
    if math.prod(size) > (most := MAX_SCALE**2 * max_pixels):
        raise UserError(
            f"The result would have {size[1]}x{size[0]} pixels, more than the {most:,} allowed here: use a smaller "
            f"outscale. {COMMAND}"
        )
    truth = None if request.truth is None else _read_truth(request.truth, photo, scale)
    upscaler = TiledUpscaler(generator, precision=choose_precision(request.precision, device), finish=finish)
    upscaler.generator.to(device)

    start = time.perf_counter()
    sr = yield from upscaler.iter_upscale(photo)
    seconds = time.perf_counter() - start
    bicubic = resize_picture(photo, size)

    caption = f"{_size(photo)} to {_size(sr)} pixels with {markdown_text(name)}, in {seconds:.1f} s on {device}."
    caption += "".join(f" Note: {note}." for note in sr.notes)
    if truth is not None:
        rows = [["bicubic", *_scores(bicubic, truth, scale)], [name, *_scores(sr, truth, scale)]]
        caption += f"\n\n{markdown_table(['', 'PSNR-Y', 'SSIM-Y'], rows)}\n\n{PROTOCOL.format(scale)}\n"

    folder = folder / secrets.token_hex(16)
    result = UpscaleResult(folder / "bicubic.png", folder / f"{request.photo.stem}{finish.suffix(scale)}.png", caption)
    write_picture(result.bicubic, bicubic)
    write_picture(result.sr, sr)
    yield result


def _generator(request: UpscaleRequest) -> tuple[str, SRModule]:
    first = _load(request.weights)
    if request.second is None:
        return first.name, first.generator
    second = _load(request.second)
    name = f"{1 - request.amount:.0%} {first.name}, {request.amount:.0%} {second.name}"
    return name, blend(first.generator, second.generator, request.amount)


def _load(weights: str | Path) -> Trained:
    try:
        trained = load_trained(weights)
    except UserError as error:
        raise UserError(_without_folder(error, Path(weights))) from error
    if trained.generator.scale > MAX_SCALE:
        name, scale = Path(weights).name, trained.generator.scale
        raise UserError(f"{name} upscales by {scale}, and at most {MAX_SCALE} is allowed here: use other weights.")
    return trained


def _without_folder(error: UserError, path: Path) -> str:
    """Return an error message in which the file's name replaces its path on the server."""
    return str(error).replace(printable(path), printable(path.name))


def _read(path: Path, max_pixels: int, what: str) -> Picture:
    try:
        return read_picture(path, min(max_pixels, MAX_PIXELS))
    except UserError as error:
        reason = _without_folder(error, path)
        if isinstance(error, TooManyPixelsError):
            reason += f" {COMMAND}"
        raise UserError(f"{what} {path.name}: {reason}") from error


def _read_truth(path: Path, photo: Picture, scale: int) -> Picture:
    """Read the ground truth, cropped at the right and bottom to a multiple of the scale."""
    truth = _read(path, MAX_SCORED_PIXELS, "The original")
    height, width = (side * scale for side in photo.colour.shape[:2])
    if [side // scale * scale for side in truth.colour.shape[:2]] != [height, width]:
        raise UserError(
            f"The original has {_size(truth)} pixels, but {width}x{height} are needed, {scale} times the photo's "
            f"{_size(photo)}. Use the image from which the photo was downsampled."
        )
    return Picture(truth.colour[:height, :width])


def _scores(picture: Picture, truth: Picture, scale: int) -> list[str]:
    try:
        psnr, ssim = psnr_ssim(_tensor(picture), _tensor(truth), scale)[0, :2].tolist()
    except ValueError as error:
        raise UserError(f"The result cannot be scored: {error}.") from error
    return [f"{format_score('psnr_y', psnr)} dB", format_score("ssim_y", ssim)]


def _tensor(picture: Picture) -> Tensor:
    """Convert to (1, 3, H, W) RGB in [0, 1], in multiples of 1/255."""
    flat = Picture(picture.colour)
    flat.to_8_bits()
    return torch.from_numpy(flat.colour).permute(2, 0, 1)[None].expand(1, 3, -1, -1) / 255


def _size(picture: Picture) -> str:
    height, width = picture.colour.shape[:2]
    return f"{width}x{height}"
