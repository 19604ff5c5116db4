"""`python -m srgan_lightning.report`: draw the curves of a run, or a table and a picture of a sweep."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from srgan_lightning.cli.argparse_command import add_architecture, add_device, command_parser, exit_code, positive
from srgan_lightning.runs.reading import Run, is_run
from srgan_lightning.runs.untrusted_files import printable
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.logging import silence_lightning
from srgan_lightning.utils.terminal_table import print_table

if TYPE_CHECKING:
    from srgan_lightning.tools.report.perception import Choice
    from srgan_lightning.tools.report.sweep import Sweep

#: `auto` and the keys of `tools.report.perception.SAYS`, repeated here because that module imports torch.
MEASURES = ("auto", "lpips", "fid", "kid", "vgg", "swd")


def report(path: Path, output: Path, choice: "Choice", limit: int, console: Console) -> list[Path]:
    """Report on a run or a sweep.

    Args:
        path: the directory of a run, or of a sweep with several runs.
        output: folder for the files.
        choice: the perceptual measure.
        limit: maximum number of validation images for this measure.
        console: where to print the table and the notes of a sweep.

    Returns:
        The files written.

    Raises:
        UserError: there is nothing to report on.
    """
    # Imported here, so that --help and usage errors do not wait for torch.
    from srgan_lightning.tools.report.curves import draw_curves
    from srgan_lightning.tools.report.style import save_figure
    from srgan_lightning.tools.report.sweep import read_sweep, write_sweep

    if is_run(path):
        run = Run(path)
        title = printable(f"{path.absolute().parent.name}/{path.absolute().name} ({run.state})")
        figure = draw_curves(run.curves(), title)
        output.mkdir(parents=True, exist_ok=True)
        save_figure(figure, output / "curves.png")
        return [output / "curves.png"]
    sweep = read_sweep(path, choice, limit)
    print_sweep(sweep, console)
    output.mkdir(parents=True, exist_ok=True)
    return write_sweep(sweep, output, choice.device)


def print_sweep(sweep: "Sweep", console: Console) -> None:
    """Print the table of a sweep, and the sentences below it."""
    from srgan_lightning.tools.report.tables import HEAD, LEFT, cells

    one_a_line = [[cell.replace(", ", "\n") for cell in cells(row)] for row in sweep.rows]  # one setting per line
    print_table(console, HEAD, one_a_line, left=LEFT)
    for line in [*sweep.best, *sweep.notes]:
        console.print(printable(line, 2000), soft_wrap=True, highlight=False, markup=False)


def make_parser() -> argparse.ArgumentParser:
    parser = command_parser("report", "Draw the curves of a run, or a table and a picture of a sweep.")
    parser.add_argument("path", help="outputs/<experiment>/<run>, or multirun/<experiment>/<sweep>")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder for the files (default: PATH)")
    parser.add_argument(
        "--perception",
        choices=MEASURES,
        default="auto",
        help="perceptual measure of a sweep: lpips, fid or kid (the last two need the extra `metrics`), vgg (needs "
        "--vgg-weights) or swd (logged by training, needs no weights). auto (default): vgg with --vgg-weights, else "
        "lpips if its weights are on this machine, else swd",
    )
    parser.add_argument("--metric-weights", metavar="DIR", help="weights of lpips, fid, kid (default: torch's cache)")
    parser.add_argument("--vgg-weights", metavar="FILE", help="VGG19 weights, .pth or .safetensors")
    parser.add_argument("--vgg-layer", default="relu2_2", help="layer of VGG19 (default: relu2_2)")
    parser.add_argument(
        "--images", type=positive, default=64, metavar="N", help="maximum number of images to measure (default: 64)"
    )
    add_architecture(parser)
    add_device(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Report from a command line; return the exit code."""
    return exit_code(run, make_parser().parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Write the report that the parsed options ask for."""
    from srgan_lightning.artifacts.own_class import allow_architectures
    from srgan_lightning.tools.report.perception import Choice
    from srgan_lightning.utils.device import find_device

    silence_lightning()
    allow_architectures(options.architecture)
    path = Path(options.path)
    choice = Choice(
        options.perception, options.metric_weights, options.vgg_weights, options.vgg_layer, find_device(options.device)
    )
    try:
        written = report(path, Path(options.output or path), choice, options.images, Console())
    except OSError as error:
        raise UserError(
            f"{printable(error.filename or path)}: {error.strerror or error}. Use -o DIR to write to another folder."
        ) from error
    print(f"Written: {', '.join(printable(file) for file in written)}")


if __name__ == "__main__":
    sys.exit(main())
