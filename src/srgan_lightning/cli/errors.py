"""Report errors: mistakes of the user in one paragraph, bugs of the program with a traceback."""

import errno
import logging
import os
import re
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    CompactHydraException,
    ConfigCompositionException,
    InstantiationException,
    OverrideParseException,
)
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from srgan_lightning.cli.option_errors import refused_option
from srgan_lightning.runs.reading import find_runs
from srgan_lightning.utils.errors import UserError

#: Start of the message of a gloo error: file and line in gloo's source. Gloo raises plain RuntimeErrors, so only the
#: message identifies them.
GLOO_ERROR = re.compile(r"(Gloo connectFullMesh failed with )?\[\S*/gloo/\S+\.(cc|h):\d+\] ")
BROKEN_CONNECTION = "The connection to another process of this run broke"


class JobError(CompactHydraException):
    """A user's mistake in one job; `sweep` is the directory of the job's sweep, or None for a single run."""

    sweep: str | None = None


def user_error(error: BaseException, cfg: DictConfig | None = None) -> str | None:
    """Return the paragraph for a mistake that a user can correct, or None for a bug of the program.

    Args:
        error: what was raised.
        cfg: the configuration of the run, to find an option that a class rejects.
    """
    # Imported here, because --help and misspelt options need neither.
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from torch.distributed import DistError

    cause: BaseException | None = error
    while cause is not None:  # Hydra wraps the error that an instantiated class raises
        if isinstance(cause, UserError | MisconfigurationException):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return (
                f"{cause.filename or 'A file'} cannot be written: {os.strerror(cause.errno)}. Existing files are not "
                "damaged. Free some space and run the command again; add ckpt_path=last to resume training."
            )
        if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            return (
                f"{cause.filename or 'A file'} cannot be opened or written: {os.strerror(cause.errno)}. Give a path "
                "that you may write to (a run's directory is hydra.run.dir), or change its permissions."
            )
        if isinstance(cause, DistError) or (isinstance(cause, RuntimeError) and GLOO_ERROR.match(str(cause))):
            return f"{BROKEN_CONNECTION}; see the message of that process for the reason. ({cause})"
        cause = cause.__cause__
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, TypeError):
        # A class got an option that it does not have, such as +model.foo=1, or a value of a wrong type.
        together = f"{' '.join(str(error).split())}: these groups or options do not work together."
        return (None if cfg is None else refused_option(error, cfg)) or together
    if isinstance(error, ConfigCompositionException | OverrideParseException):  # from benchmark, which calls compose()
        return str(error)
    if isinstance(error, MissingMandatoryValue):  # `???` in conf/: a class (`_target_`) or a folder
        key = str(error.full_key)
        return f"{key} is not set: set {key}={'MODULE.CLASS' if key.endswith('_target_') else 'FOLDER'}; see --help."
    if isinstance(error, OmegaConfBaseException):  # a key that is missing, misspelt or of a wrong type
        return " ".join(str(error).split())
    return None


def log_failed_job(text: str | None) -> None:
    """Log the reason of a failed job in its run directory.

    In a sweep this also prints the reason, because Hydra reports only one failed job.

    Args:
        text: the paragraph of `user_error`; None logs the traceback of the current exception.
    """
    if not HydraConfig.initialized():
        return
    log, failure = logging.getLogger(__name__), sys.exc_info() if text is None else None
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        log.error("Job %s failed. %s", HydraConfig.get().job.num, text or "", exc_info=failure)
        return
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, "The run failed. %s", (text or "",), failure)
    # Print no traceback if the log cannot be written: a full disk is reported elsewhere.
    before, logging.raiseExceptions = logging.raiseExceptions, False
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):  # the terminal only gets the paragraph
            handler.handle(record)
    logging.raiseExceptions = before


def say_which_failed(sweep: str) -> None:
    """Print which jobs of a sweep failed, and the command that reports on the others."""
    try:
        runs = find_runs(Path(os.path.relpath(sweep)))
    except UserError:
        return  # the jobs of this command have no run directories
    failed = [run for run in runs if run.state == "failed"]
    rest = f" The others: python -m srgan_lightning.report {runs[0].path.parent}" if len(failed) < len(runs) else ""
    names = ", ".join(run.name for run in failed)
    print(f"{len(failed)} of {len(runs)} jobs failed: {names} (see their train.log).{rest}", file=sys.stderr)


def print_user_error(error: CompactHydraException, hints: list[str]) -> None:
    """Print suggestions and the error.

    If an option is misspelt and there are suggestions, print only these, because Hydra's error advises to add the
    option.
    """
    for hint in hints:
        print(hint, file=sys.stderr)
    struct = isinstance(error.__cause__, OmegaConfBaseException)
    if not (struct and hints):
        print(error, *([error.__cause__] if struct else []), sep="\n", file=sys.stderr)
    if isinstance(error, JobError) and error.sweep is not None:
        say_which_failed(error.sweep)
