"""`python -m srgan_lightning.benchmark`: measure this package against a plain reference implementation."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from srgan_lightning.cli.argparse_command import command_parser, exit_code, positive
from srgan_lightning.utils.files import write_text

PARTS = ("train_step", "degradation", "fit", "input_pipeline", "inference", "small_images", "evaluate")


def make_parser() -> argparse.ArgumentParser:
    parser = command_parser("benchmark", "Measure the speed of this package against a plain reference implementation.")
    parser.add_argument("overrides", nargs="*", help="options of conf/train.yaml, such as data.batch_size=4")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only this part; can be repeated")
    parser.add_argument("--experiment", default="paper_srgan", help="experiment to measure (default: paper_srgan)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    parser.add_argument("--rounds", type=positive, help="number of measurements (default: 5; with --quick 2)")
    parser.add_argument("--quick", action="store_true", help="few measurements, of small images")
    parser.add_argument(
        "--scaling", action="store_true", help="also measure the training step by batch size and HR size"
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures to this file")
    parser.add_argument(
        "--gpu-report",
        metavar="DIR",
        type=Path,
        help="instead write a report on this GPU to DIR, within eight minutes: tests, training steps (each precision, "
        "compiled, with CUDA graphs), DDP, input pipeline, inference and training; with --quick a dry run, which also "
        "works on a CPU",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark from a command line; return the exit code."""
    return exit_code(run, make_parser().parse_intermixed_args(argv))


def run(options: argparse.Namespace) -> int:
    """Measure what the parsed options select; return the exit code, which is 1 if a part of the GPU report failed."""
    # Imported here, so that --help and usage errors do not wait for torch.
    from srgan_lightning.tools.benchmark.gpu_report import gpu_report
    from srgan_lightning.tools.benchmark.run import describe_device, measure
    from srgan_lightning.tools.benchmark.table import print_results
    from srgan_lightning.utils.device import find_device
    from srgan_lightning.utils.logging import silence_lightning

    silence_lightning()
    device = find_device(options.device)
    if options.gpu_report is not None:
        return 1 if gpu_report(options.gpu_report.absolute(), device, options.quick) else 0
    with tempfile.TemporaryDirectory() as folder:
        for results, scales in measure(options, options.only or PARTS, device, Path(folder) / "celeba"):
            if options.json is not None:  # after each part, so that a stopped benchmark keeps what it measured
                report = {"device": describe_device(device), "results": results, "scaling": scales}
                write_text(options.json, json.dumps(report, indent=2) + "\n")
    print_results(results, scales)
    return 0


if __name__ == "__main__":
    sys.exit(main())
