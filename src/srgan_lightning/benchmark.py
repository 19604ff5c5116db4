"""`python -m srgan_lightning.benchmark`: this package's way of working beside the plain one, measured in one run."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.errors import HydraException
from rich.console import Console
from rich.table import Table

from srgan_lightning import __version__
from srgan_lightning.benchmarking.fit import fit
from srgan_lightning.benchmarking.inference import inference
from srgan_lightning.benchmarking.input_pipeline import input_pipeline
from srgan_lightning.benchmarking.scaling import scaling
from srgan_lightning.benchmarking.setup import configure, draw_celeba
from srgan_lightning.benchmarking.timing import Result
from srgan_lightning.benchmarking.train_step import train_step
from srgan_lightning.cli import user_error, write_text
from srgan_lightning.inference.device import find_device
from srgan_lightning.quiet import quieten_lightning

PARTS = ("train_step", "input_pipeline", "inference", "fit")
FILES = 512  # of the drawn set


def run(options: argparse.Namespace, device: torch.device, root: Path) -> tuple[list[Result], list[dict[str, Any]]]:
    """The results of the parts that were asked for, and the rows of the scaling table.

    Args:
        options: of the command line.
        device: where.
        root: an empty folder for drawn photos and runs.

    Raises:
        UserError: the experiment does not fit.
    """
    quick, parts = options.quick, options.only or PARTS
    rounds = options.rounds or (2 if quick else 5)
    overrides = [f"experiment={options.experiment}", *options.overrides]
    results: list[Result] = []
    scales: list[dict[str, Any]] = []
    if options.scaling or set(parts) != {"inference"}:
        draw_celeba(root, 64 if quick else FILES)
    if "train_step" in parts:
        results.append(train_step(configure(root, device, overrides), device, rounds, quick))
    if "input_pipeline" in parts:
        # The seed's own task beside the experiment's: its baseline makes the same images.
        for words in (overrides, ["experiment=seed"]):
            cfg = configure(root, device, words)
            caches = [None, "memmap"] if "cache" in cfg.data else [None]
            for cache in caches:
                cfg = configure(root, device, [*words, *([f"data.cache={cache}"] if cache else [])])
                results.append(input_pipeline(cfg, root, 32 if quick else 256, rounds))
    if "inference" in parts:
        sizes = [(32, 32), (45, 61)] if quick else [(64, 64), (128, 128), (180, 320)]
        results += inference(device, sizes, rounds)
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


def main(argv: Sequence[str] | None = None) -> int:
    """Measure by a command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m srgan_lightning.benchmark", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="of conf/train.yaml, such as data.batch_size=4 model.compile=true")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; may be given again")
    parser.add_argument("--experiment", default="paper_srgan", help="what is trained (default: paper_srgan)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    parser.add_argument("--rounds", type=int, help="timed calls of each side (default: 5)")
    parser.add_argument("--quick", action="store_true", help="few rounds, small images where the part chooses them")
    parser.add_argument("--scaling", action="store_true", help="also the step's speed against batch size and HR size")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    options = parser.parse_args(argv)
    quieten_lightning()
    try:
        device = find_device(options.device)
        with tempfile.TemporaryDirectory() as folder:
            results, scales = run(options, device, Path(folder) / "celeba")
    except Exception as error:
        text = user_error(error) or (str(error) if isinstance(error, HydraException) else None)
        if text is None:
            raise
        print(text, file=sys.stderr)
        return 1
    print_results(results, scales)
    if options.json is not None:
        report = {"device": describe_device(device), "results": results, "scaling": scales}
        write_text(options.json, json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
