"""Batches that can never fit, refused before training starts."""

from math import prod

import torch

from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.errors import UserError
from srgan_lightning.memory import gigabytes, memory_of
from srgan_lightning.networks import Generator
from srgan_lightning.training.module import SuperResolutionModule


def check_batches_fit(data: SuperResolutionData, model: SuperResolutionModule, on_cpu: bool) -> None:
    """Raise UserError if a batch needs more memory than there is.

    Counts, for training, the two layers of features at the size of HR that a step holds at once, in half precision,
    and for validation, which runs in tiles, HR, SR and bicubic of the split's largest images: lower bounds, so what is
    refused could not have worked. What passes may still be too much. Of a generator of somebody's own nothing is known
    but the colours of its SR.

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
        if split == "train" and data.crop is not None:
            height = width = data.crop
        else:
            try:  # the headers that were read, or else one image, where all are of one size
                sizes = getattr(source, "sizes", None) or [source.read(0).shape[-2:]]
            except UserError:
                continue  # what becomes of a broken file is the loader's to say
            height, width = max(sizes, key=prod)
        images = min(size, len(source))
        pixel = channels * 2 * 2 if split == "train" else 3 * 3 * 4  # bytes
        needed = images * height * width * pixel
        if needed > there:
            advice = ", data.crop or model.generator.channels." if known else " or data.crop."
            if split == "val":
                advice = ", or cut its largest images up."
            raise UserError(
                f"data.{option}={size}: {images} images of {width}x{height} need more than {gigabytes(needed)} of "
                f"memory, and there are {gigabytes(there)}. Lower data.{option}" + advice
            )
