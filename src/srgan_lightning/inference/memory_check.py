"""How much memory a picture and its result take, judged by the file's header; tiles bound the network's alone."""

from pathlib import Path

from srgan_lightning.imaging.files import FORMATS, PNG, Format, check_writable
from srgan_lightning.imaging.png16 import is_png16
from srgan_lightning.imaging.reading import opened, orientation
from srgan_lightning.inference.finishing import Finish
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.memory import available_memory, gigabytes


def check_room(source: Path, target: Path, scale: int, share: int = 1, finish: Finish = Finish()) -> None:  # noqa: B008
    """Refuse what cannot be upscaled before any work on it.

    Args:
        source: the image file.
        target: where its result goes; its ending says which format.
        scale: how many times as high and wide the network's result is.
        share: how many processes use the memory.
        finish: colours and size of the result.

    Raises:
        UserError: the file is no image, its result exceeds its format's size, or both do not fit into memory.
    """
    with opened(source, "it") as image:
        width, height = image.size if orientation(image) < 5 else image.size[::-1]
        grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
        channels = (1 if grey else 3) + image.has_transparency_data
        depth = 2 if image.mode.startswith("I") or is_png16(source) else 1
    result = finish.size_of(height, width, scale)
    check_writable(target, *result)
    needs = [
        memory_needed(height * width, channels, depth, scale, form, result[0] * result[1], finish.match_colours)
        for form in (FORMATS[target.suffix.lower()], PNG)
    ]
    needed, as_png = needs
    if needed > (available := available_memory() // share):
        advice = f" Writing PNG takes {gigabytes(as_png)}: use --format png." if as_png < available else ""
        raise UserError(
            f"it has {width}x{height} pixels: with its result of {result[1]}x{result[0]} it takes "
            f"{gigabytes(needed)} of memory, and {gigabytes(available)} are available.{advice} Free some memory, lower "
            "--jobs, or cut it up."
        )


def memory_needed(
    pixels: int, channels: int, depth: int, scale: int, form: Format, result: int | None = None, matched: bool = False
) -> int:
    """Bytes that the input, the result and their copies take at most at one time, without the network's.

    Args:
        pixels: of the input.
        channels: 1 to 4.
        depth: bytes of a channel, 1 or 2.
        scale: see `check_room`.
        form: of the result. PNG is written strip by strip; for the others PIL copies it whole.
        result: pixels of the result, where it is resized.
        matched: its colours are matched to those of the input.
    """
    held, network = channels * depth, scale**2 * pixels
    result = network if result is None else result
    reading = pixels * (4 + 4 + held)  # by PIL, as decoded, and turned upright or converted; and as an array
    matching = 4 * 4 * channels * pixels if matched else 0  # float32: input, SR at its size, and their difference twice
    resizing = held * (network + (result if result != network else 0))
    together = held if form is not PNG and channels in (2, 4) else 0  # colour and alpha in one array
    writing = result * (held + together + form.copied)
    return max(reading, pixels * held + max(network * held + matching, resizing, writing))
