"""Exit codes and messages of commands with dashed options."""

import argparse
from errno import ENOSPC

import pytest

from srgan_lightning.cli.argparse_command import add_architecture, add_device, command_parser, exit_code, positive
from srgan_lightning.utils.errors import UserError

OPTIONS = argparse.Namespace()


def fail_with(error: Exception) -> int:
    def run(options: argparse.Namespace) -> None:
        raise error

    return exit_code(run, OPTIONS)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UserError("a.png: no such file."), "a.png: no such file."),
        (OSError(ENOSPC, "full", "b.png"), "b.png cannot be"),
    ],
)
def test_a_users_mistake_is_one_paragraph_and_exit_code_1(
    error: Exception, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail_with(error) == 1
    out, said = capsys.readouterr()
    assert out == ""
    assert said.startswith(words)
    assert said.count("\n") == 1


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        fail_with(ZeroDivisionError())


def test_the_exit_code_is_the_commands() -> None:
    assert exit_code(lambda options: None, OPTIONS) == 0
    assert exit_code(lambda options: 1, OPTIONS) == 1


def test_shared_options(capsys: pytest.CaptureFixture[str]) -> None:
    parser = command_parser("upscale", "Upscale.")
    add_architecture(parser)
    add_device(parser)
    parser.add_argument("--jobs", type=positive)
    options = parser.parse_args(["--architecture", "a.B", "--architecture", "c.D", "--jobs", "2"])
    assert (options.architecture, options.device, options.jobs) == (["a.B", "c.D"], "auto", 2)
    for wrong in ("0", "-1", "two"):
        with pytest.raises(SystemExit) as stopped:
            parser.parse_args([f"--jobs={wrong}"])
        assert stopped.value.code == 2
    assert "usage: python -m srgan_lightning.upscale" in capsys.readouterr().err
