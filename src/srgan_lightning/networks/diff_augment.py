"""Differentiable augmentation of the discriminator's input (Zhao et al. 2020, arXiv 2006.10738, section 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from srgan_lightning.utils.errors import UserError

POLICIES = ("color", "translation", "cutout")
#: Fill value of areas that `cutout` or `translation` empties; it corresponds to 0 in the paper's images in [-1, 1].
GREY = 0.5


class DiffAugment:
    """Augment HR and SR before the discriminator, so that it cannot memorise a small training set.

    Every call draws new random values for each image, from torch's RNG of the images' device. Checkpoints save this
    RNG's state. All processes of a run have the same state and draw the same values. Gradients pass through to SR.

    Args:
        policies: `color` (brightness by up to 0.25, saturation times 0 to 2, contrast times 0.5 to 1.5), `translation`
            (by up to an eighth of the side), `cutout` (a square of half the side); applied in this order.

    Raises:
        UserError: `policies` is not a list of these names.
    """

    def __init__(self, policies: Sequence[str]) -> None:
        unknown = [policies] if isinstance(policies, str) else [name for name in policies if name not in POLICIES]
        if unknown:
            raise UserError(
                f"model.discriminator_augment: {unknown[0]!r} is invalid. Give a list of {', '.join(POLICIES)}, or "
                f"some of them, in brackets, such as [{','.join(POLICIES)}]."
            )
        self.policies = [name for name in POLICIES if name in policies]

    def __call__(self, images: Tensor) -> Tensor:
        """Augment (B, 3, H, W) RGB in [0, 1]; return the same shape in float32, not clamped."""
        steps = {"color": change_colours, "translation": translate, "cutout": cut_out}
        images = images.float()  # half precision would round the image
        for name in self.policies:
            images = steps[name](images)
        return images


def change_colours(images: Tensor) -> Tensor:
    """Change brightness, then saturation around each pixel's mean, then contrast around the image's mean."""
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, device=images.device)
    images = images + (brightness - 0.5) / 2
    grey = images.mean(1, keepdim=True)
    images = grey + 2 * saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    result: Tensor = mean + (0.5 + contrast) * (images - mean)
    return result


def translate(images: Tensor) -> Tensor:
    """Move each image by whole pixels, up to an eighth of its side, and fill the uncovered area with grey."""
    for dim, shape in ((2, (-1, 1, images.shape[2], 1)), (3, (-1, 1, 1, images.shape[3]))):
        size = images.shape[dim]
        most = int(size / 8 + 0.5)
        shift = torch.randint(-most, most + 1, (len(images), 1), device=images.device)
        source = (torch.arange(size, device=images.device) + shift).view(shape)
        moved = images.gather(dim, source.clamp(0, size - 1).expand_as(images))
        images = torch.where((source >= 0) & (source < size), moved, GREY)
    return images


def cut_out(images: Tensor) -> Tensor:
    """Fill a square of half the image's side with grey; the centre of the square lies anywhere in the image."""
    inside = torch.ones((), dtype=torch.bool, device=images.device)
    for dim, shape in ((2, (-1, 1, images.shape[2], 1)), (3, (-1, 1, 1, images.shape[3]))):
        size = images.shape[dim]
        side = int(size / 2 + 0.5)
        centre = torch.randint(0, size + 1 - side % 2, (len(images), 1), device=images.device)
        distance = (torch.arange(size, device=images.device) - centre + side // 2).view(shape)
        inside = inside & (distance >= 0) & (distance < side)
    return torch.where(inside, GREY, images)
