"""Batches that can never fit, refused before training starts."""

import torch

from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.errors import UserError
from srgan_lightning.memory import gigabytes, memory_of
from srgan_lightning.networks import Generator
from srgan_lightning.training.module import SuperResolutionModule


def check_batches_fit(data: SuperResolutionData, model: SuperResolutionModule, on_cpu: bool) -> None:
    """Raise UserError if a batch needs more memory than there is.

    Counts the two layers of features at the size of HR that a step holds at once, in half precision: a lower bound,
    so what is refused could not have worked. What passes may still be too much. Of a generator of somebody's own
    nothing is known but the colours of its SR.

    Args:
        data: set up.
        model: to be trained.
        on_cpu: where.
    """
    there = memory_of(torch.device("cpu" if on_cpu else "cuda"))
    known = isinstance(model.generator, Generator)
    channels = model.generator.arguments["channels"] if known else 3
    for split, option in (("train", "batch_size"), ("val", "val_batch_size")):
        source, size = data.sources[split], getattr(data, option)
        try:
            height, width = source.read(0).shape[-2:]
        except UserError:
            continue  # what becomes of a broken file is the loader's to say
        if split == "train" and data.crop is not None:
            height = width = data.crop
        images = min(size, len(source))
        needed = images * height * width * channels * 2 * 2
        if needed > there:
            raise UserError(
                f"data.{option}={size}: {images} images of {width}x{height} need more than {gigabytes(needed)} of "
                f"memory, and there are {gigabytes(there)}. Lower data.{option}"
                + (", data.crop or model.generator.channels." if known else " or data.crop.")
            )
