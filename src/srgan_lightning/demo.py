"""`python -m srgan_lightning.demo`: upscale photos on a web page."""

import argparse
import sys
from collections.abc import Sequence

from srgan_lightning.errors import UserError


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m srgan_lightning.demo", description="Upscale photos on a web page.")
    add = parser.add_argument
    add("--weights", nargs="+", default=[], metavar="PATH", help="files to choose from, beside the bundled models")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: %(default)s)")
    add("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default: %(default)s)")
    add("--port", type=int, default=7860, metavar="N", help="(default: %(default)s)")
    add("--max-megapixels", type=positive, default=4, metavar="N", help="of a photo (default: %(default)s)")
    add("--max-megabytes", type=positive, default=32, metavar="N", help="of an uploaded file (default: %(default)s)")
    return parser


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Serve by a command line; gives the exit code."""
    options = make_parser().parse_args(argv)
    try:
        run(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """Serve by parsed options, until interrupted."""
    # Here, so that --help and bad usage need not wait for torch.
    from srgan_lightning.inference.bundled import bundled_names
    from srgan_lightning.inference.device import find_device
    from srgan_lightning.inference.extras import needs_extra
    from srgan_lightning.inference.load import load_trained

    device = find_device(options.device)
    for path in options.weights:
        load_trained(path)  # a bad file is told now, not to the first visitor
    with needs_extra("demo"):
        from srgan_lightning.webpage.page import make_page
        from srgan_lightning.webpage.server import serve

    choices = {name: name for name in [*options.weights, *bundled_names(), "bicubic"]}
    max_pixels = round(options.max_megapixels * 1e6)
    serve(
        lambda folder: make_page(choices, device, max_pixels, folder),
        options.host,
        options.port,
        round(options.max_megabytes * 1e6),
    )


if __name__ == "__main__":
    sys.exit(main())
