"""Estimate the memory for a picture and its result from the file's header.

The check is needed although images are cut into tiles, because tiles limit only the memory of the network.
"""

from pathlib import Path

from srgan_lightning.imaging.files import FORMATS, PNG, Format, check_writable
from srgan_lightning.imaging.png16 import is_png16
from srgan_lightning.imaging.reading import opened, orientation
from srgan_lightning.inference.colour_matching import matching_memory
from srgan_lightning.inference.finishing import Finish
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.memory import available_memory, gigabytes


def check_room(source: Path, target: Path, scale: int, share: int = 1, finish: Finish = Finish()) -> None:  # noqa: B008
    """Check that an image can be upscaled and its result written, before the image is decoded.

    Args:
        source: the image file.
        target: the file for the result; its suffix determines the format.
        scale: upscaling factor of the network.
        share: number of processes that share the memory.
        finish: colours and size of the result.

    Raises:
        UserError: the file is not an image, the result is too large for its format, or image and result together do not
            fit into memory.
    """
    with opened(source, "it") as image:
        width, height = image.size if orientation(image) < 5 else image.size[::-1]
        grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
        channels = (1 if grey else 3) + image.has_transparency_data
        depth = 2 if image.mode.startswith("I") or is_png16(source) else 1
    result = finish.size_of(height, width, scale)
    check_writable(target, *result)
    matching = matching_memory(height, width, 1 if grey else 3, scale) if finish.match_colours else 0
    needs = [
        memory_needed(height * width, channels, depth, scale, form, result[0] * result[1], matching)
        for form in (FORMATS[target.suffix.lower()], PNG)
    ]
    needed, as_png = needs
    if needed > (available := available_memory() // share):
        advice = ""
        if as_png < available:
            advice = f" PNG takes {gigabytes(as_png)}: use --format png, or a name for -o that ends in .png."
        raise UserError(
            f"it has {width}x{height} pixels: the image and its result of {result[1]}x{result[0]} take "
            f"{gigabytes(needed)} of memory, and {gigabytes(available)} are available.{advice} Free some memory, lower "
            "--jobs, or crop the image."
        )


def memory_needed(
    pixels: int, channels: int, depth: int, scale: int, form: Format, result: int | None = None, matching: int = 0
) -> int:
    """Return the peak memory in bytes of the input, the result and their copies, without the network.

    Args:
        pixels: pixels of the input.
        channels: number of channels, 1 to 4.
        depth: bytes per channel, 1 or 2.
        scale: see `check_room`.
        form: format of the result. PNG is written in strips; for other formats PIL copies the whole result.
        result: pixels of the final result; None if the network's result is not resized.
        matching: bytes that matching the colours takes, see `matching_memory`.
    """
    held, network = channels * depth, scale**2 * pixels
    result = network if result is None else result
    reading = pixels * (4 + 4 + held)  # PIL's image, its copy, and the array
    resizing = held * (network + (result if result != network else 0))
    together = held if form is not PNG and channels in (2, 4) else 0  # a copy with colour and alpha in one array
    writing = result * (held + together + form.copied)
    return max(reading, pixels * held + max(network * held + matching, resizing, writing))
