"""Small images of equal size, which a device upscales together: one of them does not keep a GPU busy."""

from collections import defaultdict
from collections.abc import Sequence

import torch

from srgan_lightning.imaging.reading import Size, image_size
from srgan_lightning.inference.inputs import Job
from srgan_lightning.utils.errors import UserError

#: LR pixels in one pass. One image keeps a CPU busy: there, a few together only save the work around each.
CPU_PIXELS, GPU_PIXELS = 2**14, 2**17


def group_pixels(device: torch.device) -> int:
    """How many LR pixels a device gets at a time at most."""
    return CPU_PIXELS if device.type == "cpu" else GPU_PIXELS


def grouped(jobs: Sequence[Job], pixels: int) -> list[list[Job]]:
    """Jobs of equal size together, as far as `pixels` go; by the files' headers.

    Returns:
        All jobs, each once. Larger images and unreadable files are alone.
    """
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
