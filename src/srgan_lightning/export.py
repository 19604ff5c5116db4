"""`python -m srgan_lightning.export`: a trained generator for other programs to run."""

import argparse
import sys
from collections.abc import Sequence

from srgan_lightning.utils.errors import UserError

#: Those of `artifacts.export`, which imports torch.
FORMATS = ("onnx", "torch_export", "safetensors", "safetensors16")


def main(argv: Sequence[str] | None = None) -> int:
    """Export by a command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m srgan_lightning.export", description=__doc__)
    parser.add_argument("--weights", required=True, help="an artifact, a checkpoint, or the name of a bundled model")
    parser.add_argument(
        "--architecture",
        action="append",
        metavar="MODULE.CLASS",
        help="your own class, where the weights name it",
    )
    parser.add_argument("--format", required=True, choices=FORMATS, help="what to write")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where to; an existing file is replaced")
    parser.add_argument("--licence", metavar="TEXT", help="of the training photos, for the model card")
    options = parser.parse_args(argv)
    # Here, so that --help and bad usage do not wait for torch.
    from srgan_lightning.artifacts.export import export
    from srgan_lightning.artifacts.load import load_trained
    from srgan_lightning.artifacts.own_class import allow_architectures

    try:
        allow_architectures(options.architecture)
        trained = load_trained(options.weights)
        if options.licence:
            trained.metadata["data"] = {**trained.metadata.get("data", {}), "licence": options.licence}
        differences = export(trained, options.format, options.output)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    for (batch, height, width), difference in differences.items():
        print(f"LR {width}x{height}, batch of {batch}: {difference:.1e} from torch at most")
    print(f"Done: {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
