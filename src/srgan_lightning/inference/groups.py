"""Small images of equal size, which an accelerator upscales together: one of them does not keep a GPU busy."""

from collections import defaultdict
from collections.abc import Sequence

import torch

from srgan_lightning.imaging.reading import Size, image_size
from srgan_lightning.inference.inputs import Job
from srgan_lightning.utils.errors import UserError

#: LR pixels in one pass.
GPU_PIXELS = 2**17


def group_pixels(device: torch.device) -> int:
    """How many LR pixels of several images a device gets at a time; 0 on a CPU, which one image keeps busy.

    Batches are no faster there (0.99 to 1.09 times), and a batch adds up in another order than one image.
    """
    return 0 if device.type == "cpu" else GPU_PIXELS


def grouped(jobs: Sequence[Job], pixels: int) -> list[list[Job]]:
    """Jobs of equal size together, as far as `pixels` go; by the files' headers, which 0 leaves unread.

    Returns:
        All jobs, each once. Larger images and unreadable files are alone.
    """
    if not pixels:
        return [[job] for job in jobs]
    groups: list[list[Job]] = []
    waiting: dict[Size, list[Job]] = defaultdict(list)
    for job in jobs:
        try:
            size = image_size(job.source)
        except (UserError, OSError):
            size = (pixels, 1)  # reported when it is its turn
        waiting[size].append(job)
        if (len(waiting[size]) + 1) * size[0] * size[1] > pixels:
            groups.append(waiting.pop(size))
    return [*groups, *waiting.values()]
