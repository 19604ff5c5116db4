"""`python -m srgan_lightning.export`: export a trained generator for other programs."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from srgan_lightning.cli.argparse_command import add_architecture, command_parser, exit_code
from srgan_lightning.utils.errors import printable

if TYPE_CHECKING:
    from srgan_lightning.artifacts.export_check import PhotoDifference

#: The names of `artifacts.export.FORMATS`, repeated here because that module imports torch.
FORMATS = ("onnx", "torch_export", "safetensors", "safetensors16")


def precision(text: str) -> str:
    """Parse the precision of an ONNX graph, for argparse."""
    if text == "bf16":
        raise argparse.ArgumentTypeError(
            "ONNX Runtime has no convolutions in bf16 on a CPU, so the file could not be checked: use fp16"
        )
    if text not in ("32", "fp16"):
        raise argparse.ArgumentTypeError(f"{text} is neither 32 nor fp16")
    return text


def in_levels(photos: "Sequence[PhotoDifference]") -> str:
    """Summarise how much the results of several photos differ from torch's."""
    within, values = (sum(getattr(photo, name) for photo in photos) for name in ("within", "values"))
    greatest = max(photo.greatest for photo in photos)
    return f"{greatest:.2g} levels of 255 from torch at most, {within / values:.4%} of values within 1"


def make_parser() -> argparse.ArgumentParser:
    parser = command_parser("export", "Export a trained generator for other programs.")
    parser.add_argument("--weights", required=True, help="an artifact, a checkpoint, or the name of a bundled model")
    add_architecture(parser)
    parser.add_argument("--format", required=True, choices=FORMATS, help="format of the file")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the file; an existing one is replaced")
    parser.add_argument(
        "--precision",
        metavar="{32,fp16}",
        type=precision,
        default="32",
        help="precision of an ONNX graph; fp16: half the size, input and output stay float32 (default: %(default)s)",
    )
    parser.add_argument(
        "--check",
        metavar="DIR",
        help="compare the file with torch on central crops of up to 20 photos of this folder, used as LR",
    )
    parser.add_argument("--licence", metavar="TEXT", help="licence of the training photos, for the model card")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Export from a command line; return the exit code."""
    return exit_code(run, make_parser().parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Export with parsed options."""
    # Imported here, so that --help and usage errors do not wait for torch.
    from srgan_lightning.artifacts.export import export
    from srgan_lightning.artifacts.export_check import fixed_side, read_photos
    from srgan_lightning.artifacts.load import load_trained
    from srgan_lightning.artifacts.own_class import allow_architectures

    allow_architectures(options.architecture)
    trained = load_trained(options.weights)
    if options.licence:
        trained.metadata["data"] = {**trained.metadata.get("data", {}), "licence": options.licence}
    photos = None if options.check is None else read_photos(options.check, trained.generator)
    differences = export(trained, options.format, options.output, options.precision, photos)
    for (batch, height, width), difference in differences.noise.items():
        print(f"LR {width}x{height}, batch of {batch}: {difference:.1e} from torch at most")
    for photo in differences.photos:
        print(f"{printable(photo.name)}: {in_levels([photo])}")
    if differences.photos:
        print(f"Photos ({len(differences.photos)}): {in_levels(differences.photos)}")
    if side := options.format in ("onnx", "torch_export") and fixed_side(trained.generator):
        print(
            f"The file only accepts single LR images of {side}x{side} pixels: networks whose sides or tiles must be "
            "multiples of a number, such as those with attention windows, are traced for one size. An artifact "
            "(--format safetensors) accepts any size."
        )
    print(f"Done: {options.output}")


if __name__ == "__main__":
    sys.exit(main())
