"""`python -m srgan_lightning.upscale`: upscale image files."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from srgan_lightning.artifacts.bundled import DEFAULT, DEFAULT_PRECISION, PURPOSES
from srgan_lightning.cli.argparse_command import add_architecture, add_device, command_parser, exit_code, positive
from srgan_lightning.utils.errors import UserError, printable


def make_parser() -> argparse.ArgumentParser:
    parser = command_parser("upscale", "Upscale image files.")
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="image files, folders (with subfolders) and globs; - for a pipe")
    add(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="OUT",
        help="a folder; for one input, also an image file, or - for a pipe",
    )
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        "--weights",
        default=DEFAULT,
        help=f"a file or a bundled model ({'. '.join(map(': '.join, PURPOSES.items()))}) (default: %(default)s)",
    )
    add_architecture(parser)
    weights.add_argument(
        "--blend", nargs=3, metavar=("A", "B", "SHARE"), help="blend the weights of two models, SHARE (0 to 1) of B"
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--outscale", type=float, metavar="F", help="factor for width and height (default: the network's)"
    )
    size.add_argument("--size", type=width_and_height, metavar="WxH", help="fit the result into this size")
    add("--match-colours", action="store_true", help="keep the input's colours if the network shifts them")
    add(
        "--self-ensemble",
        action="store_true",
        help="average over eight flips and rotations: slightly better, 8 times the work",
    )
    add("--tile", type=int, default=512, metavar="N", help="tile side in LR pixels (default: %(default)s; 0: no tiles)")
    add("--overlap", type=int, metavar="N", help="overlap of tiles in LR pixels (default: the receptive radius)")
    add_device(parser)
    add(
        "--precision",
        choices=("auto", "32", "bf16", "16"),
        default=DEFAULT_PRECISION,
        help="precision for 8-bit images; auto: bf16 if the device has it in hardware (default: %(default)s)",
    )
    add("--format", choices=("same", "png", "jpg", "webp", "tif"), default="same", help="default: as the input")
    add(
        "--alpha",
        choices=("bicubic", "generator", "drop"),
        default="bicubic",
        help="how to upscale transparency (default: %(default)s)",
    )
    add("--jobs", type=positive, default=1, metavar="N", help="processes that share the files; on GPUs, one per GPU")
    add("--resume", action="store_true", help="skip images with a result of the same weights and options")
    add("--overwrite", action="store_true", help="replace existing results; without it, nothing is replaced")
    return parser


def width_and_height(text: str) -> tuple[int, int]:
    """Parse two numbers with an x between them, for argparse."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text} is not a size; give width x height, such as 1920x1080")
    return int(width), int(height)


def main(argv: Sequence[str] | None = None) -> int:
    """Upscale from a command line; return the exit code."""
    return exit_code(run, make_parser().parse_intermixed_args(argv))


def run(options: argparse.Namespace) -> int:
    """Upscale with parsed options; return the exit code, 1 if any file was broken."""
    # Imported here, so that --help and usage errors do not wait for Lightning.
    from lightning.pytorch.utilities import rank_zero_only

    from srgan_lightning.artifacts.load import load_generator
    from srgan_lightning.artifacts.own_class import allow_architectures
    from srgan_lightning.inference.blending import blend_files
    from srgan_lightning.inference.finishing import Finish
    from srgan_lightning.inference.inputs import list_jobs, without_done
    from srgan_lightning.inference.pipes import piped
    from srgan_lightning.inference.predict import upscale_files
    from srgan_lightning.inference.upscaling import TiledUpscaler
    from srgan_lightning.utils.bf16 import choose_precision
    from srgan_lightning.utils.device import find_device

    if options.resume and "-" in options.inputs:
        raise UserError("--resume needs file names, which a picture from a pipe does not have: remove --resume.")
    device = find_device(options.device)
    allow_architectures(options.architecture)
    finish = Finish(options.outscale, options.size, options.match_colours)
    generator = blend_files(*options.blend) if options.blend else load_generator(options.weights)
    precision = choose_precision(options.precision, device)
    upscaler = TiledUpscaler(
        generator, options.tile, options.overlap, precision, options.alpha, options.self_ensemble, finish
    )
    with piped(options.inputs, options.output, options.format) as files:
        jobs = list_jobs(files.inputs, files.output, finish.suffix(upscaler.scale), options.format)
        # All processes of a run get here before any of them writes, so all skip the same jobs.
        waiting, replaced = without_done(jobs, options.resume, options.overwrite, upscaler.fingerprint())
        failures = upscale_files(waiting, upscaler, device, options.jobs) if waiting else {}
        if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
            return 0  # rank zero reports all failures; Lightning would treat an exit code other than 0 as a crash
        done = f"{len(waiting) - len(failures)} of {len(jobs)} images written to {files.output}"
        if options.overwrite:
            anew = [job for job in waiting if job.target in replaced and str(job.source) not in failures]
            done += f", {len(anew)} of them replacing older results"
        if options.resume:
            done += f", {len(jobs) - len(waiting)} skipped because they exist"
        print(printable(files.shown(f"{done}.")))
        if failures:
            print(f"{len(failures)} could not be upscaled:", file=sys.stderr)
            for path, reason in sorted(failures.items()):
                print(printable(files.shown(f"  {path}: {reason}")), file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
