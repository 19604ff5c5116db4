"""What the Hydra entry points share: where conf/ is, and how errors are told."""

import errno
import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from srgan_lightning.errors import UserError
from srgan_lightning.launched import LOST_CONNECTION, WORKER
from srgan_lightning.refused_options import refused_option
from srgan_lightning.reporting.runs import find_runs
from srgan_lightning.suggestions import suggest

#: Those of Hydra's own that can be given wrongly.
HYDRA_FLAGS = ("--cfg", "--info", "--package", "--config-path", "--config-name", "--config-dir", "--experimental-rerun")
#: What gloo's errors begin with, which have no class of their own: the line of its source.
GLOO_ERROR = re.compile(r"(Gloo connectFullMesh failed with )?\[\S*/gloo/\S+\.(cc|h):\d+\] ")
BROKEN_CONNECTION = "The connection to another process of this run broke"


def config_dir() -> Path:
    """The folder conf/: inside the installed wheel, or at the root of the checkout."""
    package = Path(__file__).resolve().parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parents[1] / "conf"


def _resolver(name: str) -> Callable[..., str]:
    """A resolver of `runs.resume`, which imports torch: once a run is to start, not for --help."""

    def resolve(*arguments: Any) -> str:
        from srgan_lightning.runs import resume

        return str(getattr(resume, name)(*arguments))

    return resolve


for _name in ("run_directory", "hydra_directory"):  # here, since the processes of a sweep import this module too
    OmegaConf.register_new_resolver(_name, _resolver(_name), use_cache=True, replace=True)


class JobError(CompactHydraException):
    """What a user can mend about a job, and the directory of the sweep that it is of, if it is."""

    sweep: str | None = None


def user_error(error: BaseException, cfg: DictConfig | None = None) -> str | None:
    """The paragraph for a mistake that a user can mend, or None when the error is a fault of the program.

    Args:
        error: what was raised.
        cfg: the configuration of the run, to find the option in that a class refused.
    """
    # Here, since --help and misspelt options need neither; what raised has imported them.
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from torch.distributed import DistError

    cause: BaseException | None = error
    while cause is not None:  # Hydra wraps what an instantiated target raises
        if isinstance(cause, UserError | MisconfigurationException):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return (
                f"{cause.filename or 'A file'} cannot be written: {os.strerror(cause.errno)}. What was there before is "
                "whole: free some space and run the command again; a training goes on with ckpt_path=last."
            )
        if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            return (
                f"{cause.filename or 'A file'} cannot be opened or written: {os.strerror(cause.errno)}. Give a path "
                "that you may write to (a run's directory is hydra.run.dir), or change its permissions."
            )
        if isinstance(cause, DistError) or (isinstance(cause, RuntimeError) and GLOO_ERROR.match(str(cause))):
            return f"{BROKEN_CONNECTION}; that one's own words say why. ({cause})"
        cause = cause.__cause__
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, TypeError):
        # Options that their target does not take, such as those of quickstart with model=srresnet.
        together = f"{' '.join(str(error).split())}: these groups or options do not go together."
        return (None if cfg is None else refused_option(error, cfg)) or together
    if isinstance(error, MissingMandatoryValue):  # all that conf/ leaves open are folders
        return f"{error.full_key} is not set: give {error.full_key}=FOLDER; --help says what for."
    if isinstance(error, OmegaConfBaseException):  # a key that is missing, misspelt or of the wrong type
        return " ".join(str(error).split())
    return None


def log_failed_job(text: str | None) -> None:
    """Keep in the run directory's log why a job failed; of a sweep, say it at once: Hydra tells one job, at the end."""
    if not HydraConfig.initialized():
        return
    log, failure = logging.getLogger(__name__), sys.exc_info() if text is None else None
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        log.error("Job %s failed. %s", HydraConfig.get().job.num, text or "", exc_info=failure)
        return
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, "The run failed. %s", (text or "",), failure)
    before, logging.raiseExceptions = logging.raiseExceptions, False  # the disk may be full, which is reported anyway
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):  # the terminal is told in plain words
            handler.handle(record)
    logging.raiseExceptions = before


def say_which_failed(sweep: str) -> None:
    """The last line of a sweep with failed jobs: which, and where to go on with the others."""
    try:
        runs = find_runs(Path(os.path.relpath(sweep)))
    except UserError:
        return  # a command whose jobs have no directories
    failed = [run for run in runs if run.state == "failed"]
    rest = f" The others: python -m srgan_lightning.report {runs[0].path.parent}" if len(failed) < len(runs) else ""
    names = ", ".join(run.name for run in failed)
    print(f"{len(failed)} of {len(runs)} jobs failed: {names} (see their train.log).{rest}", file=sys.stderr)


def plain_when_piped() -> None:
    """Switch colour off for every library that honours NO_COLOR, where output does not go to a terminal."""
    if "FORCE_COLOR" not in os.environ and not (sys.stdout.isatty() and sys.stderr.isatty()):
        os.environ.setdefault("NO_COLOR", "1")


@contextmanager
def hydra_raises() -> Iterator[bool]:
    """Inside, Hydra raises its errors instead of printing them; gives whether a user has asked for that already."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield bool(before)
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


def tell(error: CompactHydraException, hints: list[str]) -> None:
    """Print what a user can mend: what was meant, instead of Hydra's advice to add an option that was misspelt."""
    for hint in hints:
        print(hint, file=sys.stderr)
    struct = isinstance(error.__cause__, OmegaConfBaseException)
    if not (struct and hints):
        print(error, *([error.__cause__] if struct else []), sep="\n", file=sys.stderr)
    if isinstance(error, JobError) and error.sweep is not None:
        say_which_failed(error.sweep)


def flags_first(arguments: list[str]) -> list[str]:
    """Sort the overrides of a command line behind the flags: Hydra takes them in one place alone.

    Raises:
        SystemExit: with code 2, for flags that Hydra does not have.
    """
    overrides = get_args_parser().parse_intermixed_args(arguments).overrides
    return [*(word for word in arguments if word not in overrides), *overrides]


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
                    sys.argv[1:] = without_nulls(flags_first(sys.argv[1:]), config_dir())
                    return with_hydra()
                except CompactHydraException as error:
                    if traceback_wanted:
                        raise
                    tell(error, list(suggest(config_dir(), config_name, sys.argv[1:])))
                    raise SystemExit(1) from None
                except OSError as error:  # of Hydra's own, which makes the run's directory
                    text = None if traceback_wanted else user_error(error)
                    if text is None:
                        raise
                    print(text, file=sys.stderr)
                    raise SystemExit(1) from None
                except SystemExit as stop:
                    flags = [word.partition("=")[0] for word in sys.argv[1:] if word.startswith("--")]
                    if stop.code == 2 and flags and flags[0] not in HYDRA_FLAGS:  # the other commands take such
                        option = flags[0][2:].replace("-", "_")
                        print(f"Here options are KEY=VALUE: write {option}=... without dashes.", file=sys.stderr)
                    raise

        return command

    return decorate


def without_nulls(arguments: list[str], conf: Path) -> list[str]:
    """Write `GROUP=null`, which Hydra 1.3 answers with a traceback, as its own `~GROUP`."""

    def is_null(word: str) -> bool:
        group, _, option = word.partition("=")
        return option == "null" and group.isidentifier() and (conf / group).is_dir()

    return [f"~{word.removesuffix('=null')}" if is_null(word) else word for word in arguments]


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
        text = user_error(error, cfg)
        if text is None:
            raise
        print(text, file=sys.stderr)
        lost = text.startswith(BROKEN_CONNECTION) and sys.argv[1:2] == [WORKER]
        raise SystemExit(LOST_CONNECTION if lost else 1) from None
