"""`python -m srgan_lightning.benchmark`: this package's way of working beside the plain one, measured in one run."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from srgan_lightning import __version__
from srgan_lightning.errors import UserError
from srgan_lightning.inference.device import find_device
from srgan_lightning.inference.folding import fold_batchnorm
from srgan_lightning.networks import Generator

Size = tuple[int, int]


def measure(functions: dict[str, Callable[[], Any]], device: torch.device, rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, taken in turns, so that whatever else the machine does falls on all alike.

    Args:
        functions: what to time, by name.
        device: waited for before the clock is read.
        rounds: timed calls of each, after one that is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            _wait(device)
            start = time.perf_counter()
            function()
            _wait(device)
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.inference_mode()
def inference(device: torch.device, sizes: Sequence[Size], rounds: int) -> list[dict[str, Any]]:
    """The paper's generator on whole images: BatchNorm folded and channels_last, against `model(x)` as it is built.

    Args:
        device: where.
        sizes: (height, width) of LR.
        rounds: timed calls of each.

    Returns:
        One result for each size, in megapixels of SR per second.
    """
    plain = Generator(global_skip="bicubic").eval().to(device)
    ours = fold_batchnorm(plain).to(memory_format=torch.channels_last)
    results: list[dict[str, Any]] = []
    for height, width in sizes:
        lr = torch.rand(1, 3, height, width, device=device)
        last = lr.to(memory_format=torch.channels_last)
        timed = measure({"ours": partial(ours, last), "baseline": partial(plain, lr)}, device, rounds)
        megapixels = height * width * plain.scale**2 / 1e6
        speeds = {name: [megapixels / s for s in seconds] for name, seconds in timed.items()}
        results.append(_result("inference", f"LR {width}x{height}", "megapixels/s", speeds))
    return results


def _result(name: str, case: str, unit: str, speeds: dict[str, list[float]]) -> dict[str, Any]:
    ours, baseline = (statistics.median(speeds[way]) for way in ("ours", "baseline"))
    spread = {f"{way}_spread": [min(speeds[way]), max(speeds[way])] for way in ("ours", "baseline")}
    return {
        "name": name,
        "case": case,
        "ours": ours,
        "baseline": baseline,
        "ratio": ours / baseline,
        "unit": unit,
        **spread,
    }


def describe_device(device: torch.device) -> dict[str, Any]:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"name": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "version": __version__}


def print_results(results: list[dict[str, Any]]) -> None:
    """Medians, with the lowest and highest of each, and their ratio."""
    table = Table("what", "case", "ours", "baseline", "ratio", "unit")
    for r in results:
        cells = [
            f"{r[way]:.3g} ({r[f'{way}_spread'][0]:.3g}..{r[f'{way}_spread'][1]:.3g})" for way in ("ours", "baseline")
        ]
        table.add_row(r["name"], r["case"], *cells, f"{r['ratio']:.2f}", r["unit"])
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure by a command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m srgan_lightning.benchmark", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")
    parser.add_argument("--quick", action="store_true", help="small images, few rounds")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    options = parser.parse_args(argv)
    try:
        device = find_device(options.device)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    sizes = [(32, 32), (45, 61)] if options.quick else [(64, 64), (128, 128), (180, 320)]
    results = inference(device, sizes, rounds=2 if options.quick else 5)
    print_results(results)
    if options.json is not None:
        report = {"device": describe_device(device), "results": results}
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
