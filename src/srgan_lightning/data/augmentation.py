"""Augment batches with flips, right-angle rotations and channel orders, on the device of the images.

Each sample carries the numbers that select its augmentation. These numbers follow from the sample's seed, so all
workers, processes and resumed runs see the same images.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def draw_augmentation(
    rng: np.random.Generator, hflip: bool, rotate: bool, shuffle_channels: bool, square: bool
) -> dict[str, object]:
    """Draw the augmentation of one sample.

    Args:
        rng: the sample's random generator.
        hflip: mirror half of the images.
        rotate: rotate by 0, 90, 180 or 270 degrees; only by 0 or 180 if the image is not square.
        shuffle_channels: put red, green and blue in random order.
        square: whether the image is square.

    Returns:
        `flip` (bool), `turns` (quarter turns to the left) and `order` (3,); only those that are switched on.
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
    """Mirror, then rotate, then reorder the channels of each image, by the numbers of its sample.

    No value is read from the device to the CPU, so a GPU never waits.

    Args:
        images: (B, 3, H, W), of any dtype.
        batch: `flip` (B,), `turns` (B,) and `order` (B, 3) of `draw_augmentation`; a step without an entry is skipped.

    Returns:
        (B, 3, H, W).
    """
    if "flip" in batch:
        images = _where(batch["flip"], images.flip(-1), images)
    if "turns" in batch:
        # A quarter turn to the left is a transposition and a vertical flip.
        # A quarter turn to the right is a transposition and a horizontal flip.
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
