"""`python -m srgan_lightning.demo`: upscale photos on a web page."""

import argparse
import os
import sys
from collections.abc import Sequence

from srgan_lightning.artifacts.bundled import DEFAULT_PRECISION, PURPOSES
from srgan_lightning.cli.argparse_command import add_architecture, add_device, command_parser, exit_code
from srgan_lightning.utils.errors import UserError

PASSWORD = "SRGAN_DEMO_AUTH"
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def make_parser() -> argparse.ArgumentParser:
    parser = command_parser("demo", "Upscale photos on a web page.")
    add = parser.add_argument
    add("--weights", nargs="+", default=[], metavar="PATH", help="files to offer in addition to the bundled models")
    add_architecture(parser)
    add_device(parser)
    add(
        "--precision",
        choices=("auto", "32", "bf16"),
        default=DEFAULT_PRECISION,
        help="precision that the page proposes for the convolutions; auto: bf16 if the device has it in hardware "
        "(default: %(default)s)",
    )
    add("--host", default="127.0.0.1", help="address to serve on; 0.0.0.0: all networks (default: %(default)s)")
    add("--port", type=int, default=7860, metavar="N", help="port of the server (default: %(default)s)")
    add("--max-megapixels", type=positive, default=4, metavar="N", help="limit for a photo (default: %(default)s)")
    add("--max-megabytes", type=positive, default=32, metavar="N", help="limit for an upload (default: %(default)s)")
    add(
        "--max-total-megabytes",
        type=positive,
        default=2000,
        metavar="N",
        help="limit for the files of all visitors together (default: %(default)s)",
    )
    add("--auth", metavar="USER:PASSWORD", help=f"ask for this login; set {PASSWORD} instead to hide it from `ps`")
    add("--allow-host", action="append", default=[], metavar="NAME", help="another host name for the page; repeatable")
    return parser


def positive(text: str) -> float:
    """Parse a number above 0, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page from a command line; return the exit code."""
    return exit_code(run, make_parser().parse_args(argv))


def login_of(options: argparse.Namespace) -> tuple[str, str] | None:
    """Return user and password from the option or the environment; None if neither is set.

    Raises:
        UserError: user or password is empty.
    """
    given = options.auth if options.auth is not None else os.environ.get(PASSWORD)
    if given is None:
        return None
    user, _, password = given.partition(":")
    if not (user and password):
        raise UserError(f"--auth (or {PASSWORD}) needs a user and a password: USER:PASSWORD.")
    return user, password


def run(options: argparse.Namespace) -> None:
    """Serve the page with parsed options, until interrupted."""
    login = login_of(options)
    if login is None and options.host not in LOOPBACK:
        print(
            f"Warning: --host {options.host} lets anyone who can reach this machine use the page without a password. "
            f"Use --auth USER:PASSWORD, or set {PASSWORD}=USER:PASSWORD.",
            file=sys.stderr,
        )
    # Imported here, so that --help and usage errors do not wait for torch.
    from srgan_lightning.artifacts.bundled import bundled_names
    from srgan_lightning.artifacts.load import load_trained
    from srgan_lightning.artifacts.own_class import allow_architectures
    from srgan_lightning.utils.device import find_device
    from srgan_lightning.utils.optional import needs_extra

    device = find_device(options.device)
    allow_architectures(options.architecture)
    for path in options.weights:
        load_trained(path)  # to report a bad file now, not to the first visitor
    with needs_extra("demo"):
        from srgan_lightning.tools.web.page import make_page
        from srgan_lightning.tools.web.server import serve

    purposes = {**PURPOSES, "bicubic": "no network, to compare with"}
    names = [*options.weights, *bundled_names(), "bicubic"]
    choices = {name: f"{name}: {purposes[name]}" if name in purposes else name for name in names}
    max_pixels = round(options.max_megapixels * 1e6)
    serve(
        lambda folder, audience: make_page(choices, device, max_pixels, folder, audience, options.precision),
        options.host,
        options.port,
        round(options.max_megabytes * 1e6),
        round(options.max_total_megabytes * 1e6),
        options.allow_host,
        login,
    )


if __name__ == "__main__":
    sys.exit(main())
