"""`python -m srgan_lightning.export`: a trained generator for other programs to run."""

import argparse
import sys
from collections.abc import Sequence

from srgan_lightning.cli.argparse_command import add_architecture, command_parser, exit_code

#: Those of `artifacts.export`, which imports torch.
FORMATS = ("onnx", "torch_export", "safetensors", "safetensors16")


def make_parser() -> argparse.ArgumentParser:
    parser = command_parser("export", __doc__)
    parser.add_argument("--weights", required=True, help="an artifact, a checkpoint, or the name of a bundled model")
    add_architecture(parser)
    parser.add_argument("--format", required=True, choices=FORMATS, help="what to write")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where to; an existing file is replaced")
    parser.add_argument("--licence", metavar="TEXT", help="of the training photos, for the model card")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Export by a command line; gives the exit code."""
    return exit_code(run, make_parser().parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Export by parsed options."""
    # Here, so that --help and bad usage do not wait for torch.
    from srgan_lightning.artifacts.export import export
    from srgan_lightning.artifacts.load import load_trained
    from srgan_lightning.artifacts.own_class import allow_architectures

    allow_architectures(options.architecture)
    trained = load_trained(options.weights)
    if options.licence:
        trained.metadata["data"] = {**trained.metadata.get("data", {}), "licence": options.licence}
    differences = export(trained, options.format, options.output)
    for (batch, height, width), difference in differences.items():
        print(f"LR {width}x{height}, batch of {batch}: {difference:.1e} from torch at most")
    print(f"Done: {options.output}")


if __name__ == "__main__":
    sys.exit(main())
