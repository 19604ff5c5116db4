"""Draw grids for comparison: LR (bicubic) | SR | HR, as whole images and as crops."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torch.nn.functional import avg_pool2d
from torchvision.transforms.v2.functional import center_crop, resize

from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.imaging.picture_grid import centred, draw_grid
from srgan_lightning.metrics.pictures import Pictures

SIDE, ZOOM = 256, 4
VIEWS = ("LR, bicubic", "SR", "HR")
TITLES = (*VIEWS, *(f"{view}: centre x{ZOOM}" for view in VIEWS))


def comparison_grid(pictures: list[Pictures]) -> Tensor:
    """Draw a grid with a row for each image.

    Args:
        pictures: evaluated images of any sizes.

    Returns:
        (3, H, W) in [0, 1], with titles. Each row shows bicubic, SR and HR, fitted into 256 pixels, and then their
        centres, enlarged 4 times.
    """
    rows: list[list[Tensor]] = []
    for picture in pictures:
        views = [picture.bicubic[0], picture.sr[0].clamp(0, 1), picture.hr[0]]
        # Nearest-neighbour, because a zoom must show pixels without smoothing.
        zoomed = [resize(_centre(view), [SIDE, SIDE], interpolation=0) for view in views]
        rows.append([*map(_fit, views), *zoomed])
    return draw_grid(rows, TITLES)


def weights_grid(names: Sequence[str], pictures: Sequence[Sequence[Pictures]]) -> Tensor:
    """Draw the results of several generators for the same images side by side.

    Args:
        names: names of the generators.
        pictures: for each generator, its results for the same images in the same order.

    Returns:
        (3, H, W) in [0, 1], with titles: bicubic, each generator's SR, HR. Each image has two rows: the whole image,
        fitted into 256 pixels, and the crop with the most detail, enlarged 4 times.
    """
    rows: list[list[Tensor]] = []
    for versions in zip(*pictures, strict=True):
        first = versions[0]
        views = [first.bicubic[0], *(version.sr[0].clamp(0, 1) for version in versions), first.hr[0]]
        top, left, side = _detailed(first.hr)
        crops = [view[:, top : top + side, left : left + side] for view in views]
        zoomed = [resize(crop, [side * ZOOM, side * ZOOM], interpolation=0) for crop in crops]
        rows += [[_fit(view) for view in views], [centred(crop, SIDE, SIDE) for crop in zoomed]]
    return draw_grid(rows, [VIEWS[0], *names, VIEWS[2]])


def _detailed(hr: Tensor) -> tuple[int, int, int]:
    """Return top, left and side (at most SIDE / ZOOM) of the square of HR (1, 3, H, W) with the most fine detail."""
    side = min(SIDE // ZOOM, *hr.shape[-2:])
    small = resize_bicubic(hr, (-(-hr.shape[-2] // 2), -(-hr.shape[-1] // 2)))
    detail = (hr - resize_bicubic(small, (hr.shape[-2], hr.shape[-1]))).square().mean(dim=1)
    energy = avg_pool2d(detail, side, stride=max(side // 8, 1))[0]
    row, column = divmod(int(energy.argmax()), energy.shape[1])
    return row * max(side // 8, 1), column * max(side // 8, 1), side


def _fit(image: Tensor) -> Tensor:
    """Shrink to at most SIDE pixels per side, and centre on white."""
    height, width = image.shape[-2:]
    factor = min(1.0, SIDE / max(height, width))
    if factor < 1:
        image = resize(image, [max(1, round(height * factor)), max(1, round(width * factor))], antialias=True)
    return centred(image, SIDE, SIDE)


def _centre(image: Tensor) -> Tensor:
    """Crop the central SIDE / ZOOM pixels; centre a smaller image on white."""
    side = SIDE // ZOOM
    image = center_crop(image, [min(side, image.shape[-2]), min(side, image.shape[-1])])
    return centred(image, side, side)


def grid_files(path: str, sets: Sequence[str], weights: Sequence[str]) -> list[Path]:
    """Return a distinct file for the grid of each pair of set and weights.

    Args:
        path: the file of a single grid; the names of several grids start with its name.
        sets: folders of images, in the order of the grids.
        weights: names or files of generators; each set has one grid per generator.

    Returns:
        Files such as grid_Set5_srresnet-x4.png; if two folders have the same name, all get their parents' names too.
    """
    target = Path(path)
    if len(sets) * len(weights) == 1:
        return [target]
    names = [f"{of_set}_{name}" for of_set in _short_names(sets) for name in short_weights(weights)]
    if len(set(names)) < len(names):  # a set was given twice, or files differ only in their suffix
        names = [f"{number}_{name}" for number, name in enumerate(names, start=1)]
    return [target.with_stem(f"{target.stem}_{name}") for name in names]


def weights_grid_files(path: str, sets: Sequence[str]) -> list[Path]:
    """Return a file for each set's `weights_grid`, such as grid_Set5_all.png."""
    target, names = Path(path), _short_names(sets)
    if len(set(names)) < len(names):
        names = [f"{number}_{name}" for number, name in enumerate(names, start=1)]
    ends = [f"{name}_all" for name in names] if len(sets) > 1 else ["all"]
    return [target.with_stem(f"{target.stem}_{end}") for end in ends]


def short_weights(weights: Sequence[str]) -> list[str]:
    """Return short names of generators; they are distinct, unless files differ only in their suffix."""
    return _short_names([str(Path(name).with_suffix("")) for name in weights])


def _short_names(paths: Sequence[str]) -> list[str]:
    """Return the shortest ends of paths that are distinct for different paths."""
    parts = [tuple(part for part in Path(path).parts if part != "/") for path in paths]
    depth = 1
    while len({each[-depth:] for each in parts}) < len(set(parts)):
        depth += 1
    return ["_".join(each[-depth:]) for each in parts]
