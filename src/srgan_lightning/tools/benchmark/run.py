"""Run the requested parts of the benchmark for each precision."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from srgan_lightning import __version__
from srgan_lightning.cli.config import with_new_names
from srgan_lightning.tools.benchmark.degradation import degradation
from srgan_lightning.tools.benchmark.evaluate import evaluate
from srgan_lightning.tools.benchmark.fit import fit
from srgan_lightning.tools.benchmark.inference import TYPES, inference
from srgan_lightning.tools.benchmark.input_pipeline import input_pipeline
from srgan_lightning.tools.benchmark.scaling import scaling
from srgan_lightning.tools.benchmark.setup import configure, draw_celeba
from srgan_lightning.tools.benchmark.small_images import small_images
from srgan_lightning.tools.benchmark.timing import Result
from srgan_lightning.tools.benchmark.train_step import train_step
from srgan_lightning.training.precision import AUTO, fastest_precision
from srgan_lightning.utils.bf16 import fast_bf16
from srgan_lightning.utils.errors import UserError

FILES = 512  # number of training files in the drawn data set


def measure(
    options: argparse.Namespace, parts: Sequence[str], device: torch.device, root: Path
) -> Iterator[tuple[list[Result], list[dict[str, Any]]]]:
    """Run the requested parts; after each, yield all results so far, and the rows of the scaling table.

    Args:
        options: the options of the command line.
        parts: names of the parts.
        device: the device.
        root: a new folder for drawn photos; runs and caches are written beside it.

    Raises:
        UserError: the options of the experiment are invalid.
    """
    quick = options.quick
    rounds = options.rounds or (2 if quick else 5)
    overrides = with_new_names([f"experiment={options.experiment}", *options.overrides])
    precisions = precisions_of(device, options.overrides)
    sizes = [(32, 32), (45, 61)] if quick else [(64, 64), (128, 128), (180, 320)]
    results: list[Result] = []
    scales: list[dict[str, Any]] = []
    if options.scaling or not {*parts} <= {"inference", "small_images", "evaluate"}:
        draw_celeba(root, 64 if quick else FILES)
    for precision in precisions:
        words = [*overrides, f"trainer.precision={precision}"]
        if "train_step" in parts:
            results.append(train_step(configure(root, device, words), device, rounds, quick))
            yield results, scales
        if "degradation" in parts:
            results += degradation(root, device, words, rounds)
            yield results, scales
        if "fit" in parts:
            steps = 3 if quick else 40 if device.type == "cuda" else 5
            results.append(fit(configure(root, device, words), device, steps, rounds))
            yield results, scales
    if "input_pipeline" in parts:
        # Also measure celeba_blur, because the baseline makes the same images as that experiment.
        for words in (overrides, ["experiment=celeba_blur"]):
            cfg = configure(root, device, words)
            caches = [None, "memmap"] if "cache" in cfg.data else [None]
            for cache in caches:
                cfg = configure(root, device, [*words, *([f"data.cache={cache}"] if cache else [])])
                results.append(input_pipeline(cfg, root, 32 if quick else 256, rounds))
                yield results, scales
    if "inference" in parts:
        results += inference(device, sizes, rounds, precisions)
        yield results, scales
    if "small_images" in parts:
        count = 4 if quick else 200 if device.type == "cuda" else 32
        results.append(small_images(device, root.with_name("small"), count, 16 if quick else 64, rounds))
        yield results, scales
    if "evaluate" in parts:
        results += evaluate(device, sizes, rounds)
        yield results, scales
    if options.scaling:
        for precision in precisions:
            words = [*overrides, f"trainer.precision={precision}"]
            rows = scaling(root, device, words, rounds, batches=4 if quick else 16)
            scales += [{**row, "precision": precision} for row in rows]
            yield results, scales


def precisions_of(device: torch.device, overrides: Sequence[str]) -> list[str]:
    """Return the precisions to measure: the one on the command line, else float32, and bf16 if hardware has it.

    Raises:
        UserError: the precision on the command line is unknown.
    """
    words = [word.lstrip("+").partition("=") for word in overrides]
    given = [precision for option, _, precision in words if option == "trainer.precision"]
    if not given:
        return ["32-true", *(["bf16-mixed"] if fast_bf16(device)[0] else [])]
    precision = fastest_precision([device])[0] if given[-1] == AUTO else given[-1]
    if precision not in TYPES:
        raise UserError(f"trainer.precision={precision}: use one of {AUTO}, {', '.join(TYPES)}.")
    return [precision]


def describe_device(device: torch.device) -> dict[str, Any]:
    """Describe the device and versions of the measurement."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"name": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "version": __version__}
