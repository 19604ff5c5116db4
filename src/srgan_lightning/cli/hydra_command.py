"""Make Hydra commands from functions that take a configuration.

A user's mistake becomes one paragraph. A misspelt option gets a suggestion.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from srgan_lightning.cli.config import config_dir, with_new_names, with_whole_values, without_nulls
from srgan_lightning.cli.errors import BROKEN_CONNECTION, JobError, log_failed_job, print_user_error, user_error
from srgan_lightning.cli.suggestions import suggest
from srgan_lightning.utils.launched import LOST_CONNECTION, WORKER

#: Hydra's own flags that take an argument.
HYDRA_FLAGS = (
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun", "--info",
    "--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun",
)  # fmt: skip


def plain_when_piped() -> None:
    """Turn off colours in all libraries that support NO_COLOR, unless output goes to a terminal."""
    if "FORCE_COLOR" not in os.environ and not (sys.stdout.isatty() and sys.stderr.isatty()):
        os.environ.setdefault("NO_COLOR", "1")


@contextmanager
def hydra_raises() -> Iterator[bool]:
    """Let Hydra raise errors instead of printing them; yield whether the user set HYDRA_FULL_ERROR."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield bool(before)
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


def flags_first(arguments: list[str]) -> list[str]:
    """Move overrides after the flags, because Hydra does not accept overrides between flags.

    Raises:
        SystemExit: with code 2, for unknown flags.
    """
    overrides = get_args_parser().parse_intermixed_args(arguments).overrides
    return [*(word for word in arguments if word not in overrides), *overrides]


def entry_point(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], Any]]:
    """Make a Hydra command from a function; user errors become one paragraph and exit code 1, without a traceback.

    Misspelt options get a suggestion.
    """

    def decorate(task: Callable[[DictConfig], Any]) -> Callable[[], Any]:
        @functools.wraps(task)
        def run(cfg: DictConfig) -> Any:
            try:
                return task(cfg)
            except KeyboardInterrupt:
                raise SystemExit(130) from None
            except Exception as error:
                text = user_error(error, cfg)
                log_failed_job(text)
                if text is None:
                    raise
                failure = JobError(f"\n{text}")
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    failure.sweep = os.path.dirname(HydraConfig.get().runtime.output_dir)
                raise failure from None

        with_hydra = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(run)

        @functools.wraps(task)
        def command() -> Any:
            plain_when_piped()
            with hydra_raises() as traceback_wanted:
                try:
                    arguments = with_whole_values(with_new_names(flags_first(sys.argv[1:])))
                    sys.argv[1:] = without_nulls(arguments, config_dir())
                    return with_hydra()
                except CompactHydraException as error:
                    if traceback_wanted:
                        raise
                    print_user_error(error, list(suggest(config_dir(), config_name, sys.argv[1:])))
                    raise SystemExit(1) from None
                except OSError as error:  # from Hydra, which creates the run directory
                    text = None if traceback_wanted else user_error(error)
                    if text is None:
                        raise
                    print(text, file=sys.stderr)
                    raise SystemExit(1) from None
                except SystemExit as stop:
                    flags = [word.partition("=")[0] for word in sys.argv[1:] if word.startswith("--")]
                    # Unknown flags, such as --device, which only argparse commands have.
                    unknown = [flag for flag in flags if flag not in HYDRA_FLAGS]
                    if stop.code == 2 and unknown:
                        option = unknown[0][2:].replace("-", "_")
                        print(
                            f"Options of this command are KEY=VALUE: write {option}=... without dashes.",
                            file=sys.stderr,
                        )
                    raise

        return command

    return decorate


def run_without_hydra(task: Callable[[DictConfig], Any], cfg: DictConfig) -> None:
    """Run a task on a given configuration; user errors become one paragraph and exit code 1, without a traceback.

    A worker that lost its connection exits with `LOST_CONNECTION` instead.
    """
    try:
        task(cfg)
    except Exception as error:
        text = user_error(error, cfg)
        if text is None:
            raise
        print(text, file=sys.stderr)
        lost = text.startswith(BROKEN_CONNECTION) and sys.argv[1:2] == [WORKER]
        raise SystemExit(LOST_CONNECTION if lost else 1) from None
