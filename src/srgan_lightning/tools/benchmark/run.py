"""The parts of the benchmark that were asked for, one after the other, and their table."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from srgan_lightning import __version__
from srgan_lightning.cli.config import with_new_names
from srgan_lightning.tools.benchmark.fit import fit
from srgan_lightning.tools.benchmark.inference import inference
from srgan_lightning.tools.benchmark.input_pipeline import input_pipeline
from srgan_lightning.tools.benchmark.scaling import scaling
from srgan_lightning.tools.benchmark.setup import configure, draw_celeba
from srgan_lightning.tools.benchmark.small_images import small_images
from srgan_lightning.tools.benchmark.timing import Result
from srgan_lightning.tools.benchmark.train_step import train_step

FILES = 512  # of the drawn set


def run(
    options: argparse.Namespace, parts: Sequence[str], device: torch.device, root: Path
) -> tuple[list[Result], list[dict[str, Any]]]:
    """The results of the parts that were asked for, and the rows of the scaling table.

    Args:
        options: of the command line.
        parts: those to measure.
        device: where.
        root: an empty folder for drawn photos and runs.

    Raises:
        UserError: the experiment does not fit.
    """
    quick = options.quick
    rounds = options.rounds or (2 if quick else 5)
    overrides = with_new_names([f"experiment={options.experiment}", *options.overrides])
    results: list[Result] = []
    scales: list[dict[str, Any]] = []
    if options.scaling or not {"inference", "small_images"}.issuperset(parts):
        draw_celeba(root, 64 if quick else FILES)
    if "train_step" in parts:
        results.append(train_step(configure(root, device, overrides), device, rounds, quick))
    if "input_pipeline" in parts:
        # Also on the task for which the baseline makes the same images.
        for words in (overrides, ["experiment=celeba_blur"]):
            cfg = configure(root, device, words)
            caches = [None, "memmap"] if "cache" in cfg.data else [None]
            for cache in caches:
                cfg = configure(root, device, [*words, *([f"data.cache={cache}"] if cache else [])])
                results.append(input_pipeline(cfg, root, 32 if quick else 256, rounds))
    if "inference" in parts:
        sizes = [(32, 32), (45, 61)] if quick else [(64, 64), (128, 128), (180, 320)]
        results += inference(device, sizes, rounds)
    if "small_images" in parts:
        count = 4 if quick else 200 if device.type == "cuda" else 32
        results.append(small_images(device, root.with_name("small"), count, 16 if quick else 64, rounds))
    if "fit" in parts:
        steps = 3 if quick else 100 if device.type == "cuda" else 5
        results.append(fit(configure(root, device, overrides), device, steps, rounds))
    if options.scaling:
        scales = scaling(root, device, overrides, rounds, batches=4 if quick else 16)
    return results, scales


def describe_device(device: torch.device) -> dict[str, Any]:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"name": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "version": __version__}


def print_results(results: list[Result], scales: list[dict[str, Any]]) -> None:
    """Medians, with the lowest and highest of each, their ratio, and what else was found out."""
    console = Console()
    table = Table("what", "case", "ours", "baseline", "ratio", "unit")
    for r in results:
        cells = [
            f"{r[way]:.3g} ({r[f'{way}_spread'][0]:.3g}..{r[f'{way}_spread'][1]:.3g})" for way in ("ours", "baseline")
        ]
        table.add_row(r["name"], r["case"], *cells, f"{r['ratio']:.2f}", r["unit"])
    if results:
        console.print(table)
    for r in results:
        if r["name"] == "train_step":
            console.print(
                f"train_step: {r['flops_per_image'] / 1e9:.1f} GFLOP an image (textbook "
                f"{r['baseline_flops_per_image'] / 1e9:.1f}), {r['share_of_peak']:.0%} of the measured "
                f"{r['matmul_peak'] / 1e12:.3g} TFLOP/s (textbook {r['baseline_share_of_peak']:.0%}), peak memory "
                f"{r['peak_memory'] / 2**30:.2f} GiB"
            )
        if r["name"] == "input_pipeline":
            console.print(
                f"input_pipeline, {r['case']}: {r['loading_alone']:.3g} images/s without flips and LR, which the "
                f"device makes ({r['loading_alone'] / r['baseline']:.1f}x)"
            )
        if r["name"] == "fit":
            console.print(
                f"fit: {r['overhead']:+.1%} of the bare step's time, {r['waited_for_data']:.1%} spent waiting for data"
            )
    if scales:
        table = Table("scaling", "value", "images/s", "HR megapixels/s")
        for row in scales:
            table.add_row(
                row["option"], str(row["value"]), f"{row['images/s']:.3g}", f"{row.get('HR megapixels/s', 0):.3g}"
            )
        console.print(table)
