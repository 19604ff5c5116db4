"""`python -m srgan_lightning.export`: a trained generator for other programs to run."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from srgan_lightning.cli.argparse_command import add_architecture, command_parser, exit_code
from srgan_lightning.utils.errors import printable

if TYPE_CHECKING:
    from srgan_lightning.artifacts.export_check import PhotoDifference

#: Those of `artifacts.export`, which imports torch.
FORMATS = ("onnx", "torch_export", "safetensors", "safetensors16")


def precision(text: str) -> str:
    """A precision of an ONNX graph, for argparse."""
    if text == "bf16":
        raise argparse.ArgumentTypeError(
            "ONNX Runtime has no convolutions in bf16 on a CPU, so that the file could not be checked: take fp16"
        )
    if text not in ("32", "fp16"):
        raise argparse.ArgumentTypeError(f"{text} is neither 32 nor fp16")
    return text


def in_levels(photos: "Sequence[PhotoDifference]") -> str:
    """How far some photos are from torch together."""
    within, values = (sum(getattr(photo, name) for photo in photos) for name in ("within", "values"))
    greatest = max(photo.greatest for photo in photos)
    return f"{greatest:.2g} levels of 255 from torch at most, {within / values:.4%} of values within 1"


def make_parser() -> argparse.ArgumentParser:
    parser = command_parser("export", __doc__)
    parser.add_argument("--weights", required=True, help="an artifact, a checkpoint, or the name of a bundled model")
    add_architecture(parser)
    parser.add_argument("--format", required=True, choices=FORMATS, help="what to write")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where to; an existing file is replaced")
    parser.add_argument(
        "--precision",
        metavar="{32,fp16}",
        type=precision,
        default="32",
        help="of an ONNX graph; fp16: half the size, input and output stay float32 (default: %(default)s)",
    )
    parser.add_argument(
        "--check",
        metavar="DIR",
        help="a folder of photos, as LR: run the file on the middle of up to 20, and compare with torch",
    )
    parser.add_argument("--licence", metavar="TEXT", help="of the training photos, for the model card")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Export by a command line; gives the exit code."""
    return exit_code(run, make_parser().parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Export by parsed options."""
    # Here, so that --help and bad usage do not wait for torch.
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
            f"The file takes LR of {side}x{side} pixels alone, one at a time, since tracing takes the windows of the "
            "network for constants. An artifact (--format safetensors) takes any size."
        )
    print(f"Done: {options.output}")


if __name__ == "__main__":
    sys.exit(main())
