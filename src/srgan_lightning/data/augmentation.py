"""Flips, right-angle turns and colour orders: in batches, on the device that the images are on.

The numbers that select them come with the samples and follow from their seeds, so workers, processes and resumed runs
all see the same images.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def draw_augmentation(
    rng: np.random.Generator, hflip: bool, rotate: bool, shuffle_channels: bool, square: bool
) -> dict[str, object]:
    """What is done to one sample.

    Args:
        rng: the sample's own.
        hflip: mirror half of the images.
        rotate: turn by random right angles; by 180 degrees alone where the image is not square.
        shuffle_channels: put red, green and blue in random order.
        square: whether the image is.

    Returns:
        `flip` (bool), `turns` (quarters to the left) and `order` (3,), as far as they are asked for.
    """
    drawn: dict[str, object] = {}
    if hflip:
        drawn["flip"] = bool(rng.random() < 0.5)
    if rotate:
        drawn["turns"] = int(rng.integers(4)) if square else 2 * int(rng.integers(2))
    if shuffle_channels:
        drawn["order"] = rng.permutation(3)
    return drawn


def augment(images: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Mirror, then turn, then reorder colours, each image as its sample drew.

    Selects without asking the device for a value, so a GPU never waits.

    Args:
        images: (B, 3, H, W), of any type.
        batch: `flip` (B,), `turns` (B,) and `order` (B, 3) from `draw_augmentation`; what is absent is not done.

    Returns:
        (B, 3, H, W).
    """
    if "flip" in batch:
        images = _where(batch["flip"], images.flip(-1), images)
    if "turns" in batch:
        # A quarter to the left is a transposition and an upside-down; to the right, one and a mirroring.
        turns = batch["turns"]
        if images.shape[-1] == images.shape[-2]:
            images = _where(turns % 2 == 1, images.transpose(-2, -1), images)
        images = _where((turns == 1) | (turns == 2), images.flip(-2), images)
        images = _where(turns >= 2, images.flip(-1), images)
    if "order" in batch:
        images = images[torch.arange(len(images), device=images.device)[:, None], batch["order"]]
    return images


def _where(chosen: Tensor, images: Tensor, others: Tensor) -> Tensor:
    return torch.where(chosen[:, None, None, None], images, others)
