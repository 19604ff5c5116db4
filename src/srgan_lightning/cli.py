"""What the Hydra entry points share: where conf/ is, and how errors are told."""

import errno
import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, InstantiationException
from hydra.types import RunMode
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from torch.distributed import DistError

from srgan_lightning.errors import UserError
from srgan_lightning.suggestions import suggest


def config_dir() -> Path:
    """The folder conf/: inside the installed wheel, or at the root of the checkout."""
    package = Path(__file__).resolve().parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parents[1] / "conf"


def user_error(error: BaseException) -> str | None:
    """The paragraph for a mistake that a user can mend, or None when the error is a fault of the program."""
    cause: BaseException | None = error
    while cause is not None:  # Hydra wraps what an instantiated target raises
        if isinstance(cause, UserError | MisconfigurationException):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return (
                f"{cause.filename or 'A file'} cannot be written: {os.strerror(cause.errno)}. What was there before is "
                "whole: free some space and run the command again; a training goes on with ckpt_path=last."
            )
        if isinstance(cause, DistError) or "gloo" in str(cause):
            return f"The connection to another process of this run broke; that one's own words say why. ({cause})"
        cause = cause.__cause__
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, TypeError):
        # Options that their target does not take, such as those of quickstart with model=srresnet.
        return f"{' '.join(str(error).split())}: these groups or options do not go together."
    if isinstance(error, MissingMandatoryValue):  # all that conf/ leaves open are folders
        return f"{error.full_key} is not set: give {error.full_key}=FOLDER; --help says what for."
    if isinstance(error, OmegaConfBaseException):  # a key that is missing, misspelt or of the wrong type
        return " ".join(str(error).split())
    return None


def log_failed_job(text: str | None) -> None:
    """Say at once, and in its run directory's log, why a job of a sweep failed: Hydra tells one of them, at the end."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        log = logging.getLogger(__name__)
        log.error("Job %s failed. %s", HydraConfig.get().job.num, text or "", exc_info=text is None)


def plain_when_piped() -> None:
    """Switch colour off for every library that honours NO_COLOR, where output does not go to a terminal."""
    if "FORCE_COLOR" not in os.environ and not (sys.stdout.isatty() and sys.stderr.isatty()):
        os.environ.setdefault("NO_COLOR", "1")


def entry_point(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], Any]]:
    """Make a Hydra command of a function: its user errors become one paragraph and exit code 1, without a traceback.

    Options that were misspelt get a suggestion.
    """

    def decorate(task: Callable[[DictConfig], Any]) -> Callable[[], Any]:
        @functools.wraps(task)
        def run(cfg: DictConfig) -> Any:
            try:
                return task(cfg)
            except KeyboardInterrupt:
                raise SystemExit(130) from None
            except Exception as error:
                text = user_error(error)
                log_failed_job(text)
                if text is None:
                    raise
                # The one exception that Hydra prints as it stands; other jobs of a sweep go on.
                raise CompactHydraException(f"\n{text}") from None

        with_hydra = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(run)

        @functools.wraps(task)
        def command() -> Any:
            plain_when_piped()
            try:
                return with_hydra()
            except SystemExit as stop:
                if stop.code == 1:
                    for sentence in suggest(config_dir(), config_name, sys.argv[1:]):
                        print(sentence, file=sys.stderr)
                raise

        return command

    return decorate


def write_text(path: str | Path, text: str) -> None:
    """Write a file that an option names, such as `json=`, and the folders it goes into."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")  # not by renaming: it may be /dev/stdout


def run_without_hydra(task: Callable[[DictConfig], Any], cfg: DictConfig) -> None:
    """Run a task on a configuration that is there already, with the errors of `entry_point`."""
    try:
        task(cfg)
    except Exception as error:
        text = user_error(error)
        if text is None:
            raise
        print(text, file=sys.stderr)
        raise SystemExit(1) from None
