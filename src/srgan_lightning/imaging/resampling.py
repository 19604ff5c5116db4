"""Resize batches of images of different sizes, each image by its own factor.

Each image lies at the top left of a common canvas. The rest of the canvas repeats the image's last row and column.
Blur and JPEG extend an image in the same way, and `resize` uses only the image itself. So the result for an image does
not depend on the size of the canvas.
"""

import torch
from torch import Tensor

#: Modes of torch's `interpolate`; each image selects one by index.
MODES = ("area", "bilinear", "bicubic")


def full_size(images: Tensor) -> Tensor:
    """Return the heights and widths (B, 2) of images that fill their canvas."""
    return torch.tensor(images.shape[-2:], device=images.device).expand(len(images), 2)


def canvas_for(sizes: Tensor, bound: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of a canvas that holds images of all `sizes` (B, 2).

    On a CPU, it is the smallest such canvas. On a GPU, it is `bound`, because reading the sizes would need a sync.
    """
    if sizes.device.type != "cpu":
        return bound
    height, width = sizes.amax(dim=0).tolist()
    return height, width


def places(size: Tensor, canvas: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return, for each row (B, H) and column (B, W) of a canvas, the row or column of the image that it shows."""
    rows, columns = (torch.arange(side, device=size.device) for side in canvas)
    return torch.minimum(rows, size[:, :1] - 1), torch.minimum(columns, size[:, 1:] - 1)


def repeat_border(images: Tensor, size: Tensor) -> Tensor:
    """Repeat the last row and column of each image's own size (B, 2) over the rest of the canvas."""
    rows, columns = places(size, (images.shape[-2], images.shape[-1]))
    images = images.gather(2, rows[:, None, :, None].expand_as(images))
    return images.gather(3, columns[:, None, None, :].expand_as(images))


def resize(
    images: Tensor, size: Tensor, new_size: Tensor, canvas: tuple[int, int], mode: Tensor, antialias: bool
) -> Tensor:
    """Resize each image to its own new size.

    Args:
        images: (B, C, H, W).
        size: (B, 2) heights and widths of the images on the canvas `images`.
        new_size: (B, 2) heights and widths of the results.
        canvas: height and width of the result's canvas.
        mode: (B,) indices of `MODES`.
        antialias: widen the bilinear and bicubic kernels when shrinking, as PIL does. It also gives the bicubic kernel
            PIL's a = -0.5 instead of -0.75, even when enlarging.

    Returns:
        (B, C, *canvas), not clamped. The rest of the canvas repeats each image's last row and column.
    """
    down, across = (
        _weights(size[:, axis], new_size[:, axis], images.shape[axis - 2], canvas[axis], mode, antialias)
        for axis in (0, 1)
    )
    return torch.einsum("bih,bchw,bjw->bcij", down, images, across)


def _weights(old: Tensor, new: Tensor, old_side: int, new_side: int, mode: Tensor, antialias: bool) -> Tensor:
    """Return (B, new_side, old_side): the weight of each old pixel in each new one."""
    old, new = old[:, None, None], new[:, None, None]
    i = torch.minimum(torch.arange(new_side, device=old.device)[None, :, None], new - 1)
    j = torch.arange(old_side, device=old.device)[None, None, :]
    ratio = old / new
    reach = ratio.clamp(min=1) if antialias else torch.ones_like(ratio)
    distance = (((i + 0.5) * ratio - 0.5 - j) / reach).abs()
    area = (j >= i * old // new) & (j < -(-(i + 1) * old // new))
    mode = mode[:, None, None]
    weights = torch.where(mode == 1, (1 - distance).clamp(min=0), _cubic(distance, -0.5 if antialias else -0.75))
    weights = torch.where(mode == 0, area.float(), weights) * (j < old)
    return weights / weights.sum(dim=-1, keepdim=True)


def _cubic(distance: Tensor, a: float) -> Tensor:
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
