"""Evaluate generators and bicubic interpolation on sets of images."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from torch import Tensor
from torchvision.utils import save_image

from srgan_lightning.artifacts.load import load_trained
from srgan_lightning.artifacts.own_class import allow_architectures
from srgan_lightning.inference.comparison_grid import (
    comparison_grid,
    grid_files,
    short_weights,
    weights_grid,
    weights_grid_files,
)
from srgan_lightning.inference.cost import count_weights, measure_costs
from srgan_lightning.inference.evaluation import EvaluationSet, Upscaler, bicubic_upscaler, evaluate_set
from srgan_lightning.inference.self_ensemble import self_ensemble
from srgan_lightning.inference.tiling import super_resolve
from srgan_lightning.metrics.perceptual import PerceptualMetrics
from srgan_lightning.metrics.pictures import Pictures
from srgan_lightning.metrics.psnr_ssim import protocol
from srgan_lightning.metrics.tables import print_comparison, print_images, to_markdown
from srgan_lightning.utils.device import find_device
from srgan_lightning.utils.errors import UserError, printable
from srgan_lightning.utils.files import write_text


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Run the evaluation that a composed configuration describes.

    Args:
        cfg: the configuration of `conf/evaluate.yaml`.

    Returns:
        The content of the `json=` file: `protocol` and `results`, one for each pair of set and weights.

    Raises:
        UserError: weights, images or settings are invalid or do not match.
    """
    console, device = Console(), find_device(cfg.device)
    allow_architectures(_listed(cfg.architecture))
    degradation = instantiate(cfg.degradation)
    hr_dirs, lr_dirs = _listed(cfg.hr_dir), _listed(cfg.lr_dir)
    if lr_dirs and len(lr_dirs) != len(hr_dirs):
        raise UserError(f"lr_dir has {len(lr_dirs)} folders, hr_dir {len(hr_dirs)}: give one LR folder per HR folder.")
    sets = [
        EvaluationSet(hr, lr, degradation) for hr, lr in zip(hr_dirs, lr_dirs or [None] * len(hr_dirs), strict=True)
    ]
    upscalers = {
        str(name): make_upscaler(str(name), cfg.scale, device, cfg.self_ensemble) for name in _listed(cfg.weights)
    }
    perceptual = PerceptualMetrics(
        _listed(cfg.metrics), cfg.metric_weights, device, cfg.vgg, scale=cfg.scale, identity=cfg.identity
    )
    costs = _costs(upscalers, device, cfg.scale) if cfg.cost else {}

    how = dict(protocol(cfg.scale))
    how["lr"] = "given" if lr_dirs else f"made from HR: {degradation.label}, rounded to 8 bits"
    if getattr(degradation, "jpeg", None) is not None and not lr_dirs:
        low, high = degradation.jpeg
        how["lr"] += f", {degradation.jpeg_probability:.0%} of it through JPEG files of quality {low} to {high}"
    if cfg.self_ensemble:
        how["self_ensemble"] = "mean over eight flips and turns (not for bicubic)"
    console.print("Protocol: " + "; ".join(f"{key}: {value}" for key, value in how.items()), highlight=False)

    results: list[dict[str, Any]] = []
    folders = list(map(str, hr_dirs))
    grids = iter(grid_files(cfg.grid, folders, list(upscalers)) if cfg.grid is not None else [])
    of_all = iter(weights_grid_files(cfg.grid, folders) if cfg.grid is not None and len(upscalers) > 1 else [])
    for images in sets:
        versions: list[list[Pictures]] = []
        for remark in images.remarks():
            console.print(printable(f"{images.name}: {remark}"), highlight=False, markup=False)
        for name, upscale in upscalers.items():
            kept: list[Pictures] = []

            def seen(pictures: Pictures, kept: list[Pictures] = kept) -> None:
                perceptual.update(pictures)
                if cfg.grid is not None and len(kept) < cfg.grid_images:
                    kept.append(pictures)

            scores = evaluate_set(upscale, images, seen)
            results.append({"set": images.name, "weights": name, **scores, **perceptual.compute(len(images))})
            results[-1] |= costs.get(name, {})
            print_images(console, results[-1])
            if kept:
                console.print(f"Grid: {write_grid(next(grids), comparison_grid(kept))}")
                versions.append(kept)
        if len(versions) > 1:
            console.print(f"Grid: {write_grid(next(of_all), weights_grid(short_weights(list(upscalers)), versions))}")
    print_comparison(console, results)
    report = {"protocol": how, "results": results}
    if cfg.json is not None:
        write_text(cfg.json, json.dumps(report, indent=2) + "\n")
    if cfg.markdown is not None:
        write_text(cfg.markdown, to_markdown(results, how))
    return report


def make_upscaler(weights: str, scale: int, device: torch.device, ensemble: bool) -> Upscaler:
    """Return a function from LR to SR, both (1, 3, ...) on the CPU.

    Raises:
        UserError: the weights are unavailable, or have another scale.
    """
    if weights == "bicubic":
        return bicubic_upscaler(scale)
    generator = load_trained(weights).generator
    if generator.scale != scale:
        raise UserError(f"weights={weights} upscale by {generator.scale}, not by {scale}: set scale={generator.scale}.")
    generator.to(device).to(memory_format=torch.channels_last)

    def upscale(lr: Tensor) -> Tensor:
        return super_resolve(generator, lr.to(device, memory_format=torch.channels_last)).cpu()

    return self_ensemble(upscale) if ensemble else upscale


def _costs(upscalers: Mapping[str, Upscaler], device: torch.device, scale: int) -> dict[str, dict[str, float]]:
    """Return the costs of each upscaler by its name, with the keys of `metrics.tables.COSTS`."""
    costs = measure_costs(upscalers, device, scale)
    return {
        name: {"weights_count": 0 if name == "bicubic" else count_weights(load_trained(name).generator), **cost}
        for name, cost in costs.items()
    }


def write_grid(target: Path, grid: Tensor) -> Path:
    """Write a grid, and return its file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    save_image(grid, target)
    return target


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, ListConfig) else [value]
