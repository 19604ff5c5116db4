"""Common parts of commands with dashed options: parser, shared options, and error handling."""

import argparse
import sys
from collections.abc import Callable

from srgan_lightning.utils.errors import UserError


def command_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Make a parser whose usage shows `python -m srgan_lightning.NAME`."""
    return argparse.ArgumentParser(prog=f"python -m srgan_lightning.{name}", description=description)


def add_architecture(parser: argparse.ArgumentParser) -> None:
    """Add --architecture, whose values go to `artifacts.own_class.allow_architectures`."""
    text = "allow weights files to use your own generator class MODULE.CLASS; can be repeated"
    parser.add_argument("--architecture", action="append", metavar="MODULE.CLASS", help=text)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device, whose value goes to `utils.device.find_device`."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: %(default)s)")


def positive(text: str) -> int:
    """Parse an integer of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def exit_code(run: Callable[[argparse.Namespace], int | None], options: argparse.Namespace) -> int:
    """Run a command; a user's mistake becomes one paragraph on stderr, as in commands of `hydra_command`.

    Args:
        run: the command, which returns an exit code, or None for 0. It must import torch inside the function, so that
            --help and usage errors do not wait for that import.
        options: the parsed options.

    Returns:
        The exit code: 1 after a mistake.
    """
    try:
        return run(options) or 0
    except Exception as error:
        if isinstance(error, UserError):
            text: str | None = str(error)
        else:
            # Imports Hydra, for which --help and usage errors must not wait.
            from srgan_lightning.cli.errors import user_error

            text = user_error(error)
        if text is None:
            raise
        print(text, file=sys.stderr)
        return 1
