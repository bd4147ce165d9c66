"""What ends the program: an exit code and, for a mistake, one sentence."""

import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from textwrap import fill

from hydra._internal.utils import get_args_parser

from daso.command.launch import launch
from daso.credentials import mask, withhold
from daso.errors import Interrupted, UserError
from daso.machine.streams import outlive_readers
from daso.machine.version import code_version
from daso.settings.compose import configuration
from daso.settings.mistakes import explain
from daso.settings.option_files import complaint
from daso.settings.options import program
from daso.settings.refusals import refuse_no_choice, refuse_no_flag
from daso.sweep.callback import SweepReport

WIDTH = 120  # columns of a list of options
LIST = re.compile(r"[a-z/_]+: \w+, ")
ACTIONS = ("run", "multirun", "cfg", "info", "shell_completion")  # of which Hydra takes one at a time


def guard(main: Callable[[], object]) -> int:
    """Run `main` and turn what ends it into an exit code and, for a mistake, one sentence on stderr.

    Returns:
        0; 1 a run failed; 2 a user's mistake; 128 + signal number after a signal. With HYDRA_FULL_ERROR=1 in the
        environment, errors keep their tracebacks. Nobody needs to read what is written, as after `| head -1`.
    """
    outlive_readers()
    withhold(sys.argv)
    arguments = sys.argv[1:]
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting
    try:
        refuse_no_choice(arguments)
        if "--version" in arguments:
            print(_versions())
            return 0
        asked = _flags(arguments)
        shown = asked.cfg or asked.info or asked.help
        with _masked(_readable if asked.help else str) if shown else nullcontext():
            main()
        if asked.cfg == "job":
            _judge(asked.overrides)
    except KeyboardInterrupt as error:
        SweepReport.close()
        return 128 + error.signum if isinstance(error, Interrupted) else 130
    except Exception as error:
        SweepReport.close()
        if wants_traceback:
            raise
        code, sentence = _verdict(error, arguments)
        if not code:
            raise
        print(mask(sentence), file=sys.stderr)
        return code
    return 0


def _judge(overrides: list[str]) -> None:
    """Say of a configuration that was shown whether it can run, and in how many steps where it tells epochs.

    Raises:
        UserError: it cannot.
    """
    try:
        config = configuration(overrides)
    except UserError as error:
        raise UserError(f"What is shown cannot run: {error}") from error
    if config.train.epoch:  # as a comment, so that what is printed stays YAML
        steps = {"train.steps": config.train.steps}
        if config.daso.name != config.daso.absent:
            steps |= {"daso.warmup_steps": config.daso.warmup_steps, "daso.update_every": config.daso.update_every}
        print("# What is told in epochs, in steps:", *(f"{key}={value}" for key, value in steps.items()))


@contextmanager
def _masked(written: Callable[[str], str]) -> Iterator[None]:
    """Mask the credentials of option files in a configuration that is printed, as `written` has it."""
    shown = StringIO()
    try:
        with redirect_stdout(shown):
            yield
    finally:
        sys.stdout.write(written(mask(shown.getvalue())))


def _readable(text: str) -> str:
    """Hydra's help without the groups that nobody chooses of, and with long lists on several lines."""
    lines = (line for line in text.split("\n") if not line.startswith("schema"))
    return "\n".join(fill(line, WIDTH, subsequent_indent="  ") if LIST.match(line) else line for line in lines)


def _versions() -> str:
    """The versions of this program and of what its numbers depend on, without loading it."""
    found = {}
    for name in ("torch", "hydra-core", "mlflow"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return f"daso {code_version()}, {', '.join(f'{name} {number}' for name, number in found.items())}"


def _flags(arguments: list[str]) -> Namespace:
    """Hydra's reading of the command line.

    Raises:
        UserError: a flag that it does not know, instead of a page about those that it does; two of which one is enough.
    """
    said, parser = StringIO(), get_args_parser()
    refuse_no_flag(arguments, [flag for action in parser._actions for flag in action.option_strings])
    try:
        with redirect_stdout(said), redirect_stderr(said):
            asked = parser.parse_args(arguments)
    except SystemExit as end:
        if not end.code:
            return Namespace(cfg=None, info=None, help=None)
        reason = said.getvalue().strip().rpartition("error: ")[2]
        right = f"flags stand before key=value, and {program()} --hydra-help lists them"
        raise UserError(f"The command line is not possible: {reason}; {right}.") from None
    if asked.config_dir is not None and not Path(asked.config_dir).is_dir():
        raise UserError(f"--config-dir {asked.config_dir} is not possible: there is no such folder.")
    if asked.experimental_rerun is not None:
        again = "start the same line again, which continues or skips the run"
        raise UserError(f"--experimental-rerun {asked.experimental_rerun} is not possible: {again}.")
    if asked.resolve and not (asked.cfg or asked.help):
        raise UserError("--resolve is not possible: it belongs to --cfg job.")
    if asked.shell_completion and not any(re.match(r"(un)?install=|query=", word) for word in asked.overrides):
        raise UserError("--shell-completion is not possible: say install=bash, uninstall=bash or query=bash.")
    both = [f"--{name.replace('_', '-')}" for name in ACTIONS if getattr(asked, name)]
    if len(both) > 1:
        raise UserError(f"{' '.join(both)} is not possible: choose one of them.")
    return asked


def _verdict(error: Exception, arguments: list[str]) -> tuple[int, str]:
    """Exit code and sentence for an error; code 0 for a defect of this program, which keeps its traceback.

    A mistake of the user's is what composition raises; all else befell a sweep or its launcher.
    """
    if isinstance(error, UserError):
        return 2, str(error)
    if isinstance(error, BrokenExecutor):
        return 1, "A job's process was killed, perhaps for its memory; the same command again continues the sweep."
    if not _entered(error) and (fault := complaint(arguments)):
        return 2, fault
    library = type(error).__module__.partition(".")[0]
    if library in ("hydra", "omegaconf", "yaml"):
        return 2, explain(error, arguments)
    if library == "submitit":
        return 1, f"SLURM took no job: {str(error).strip().rstrip('.')}."
    if isinstance(error, OSError) and not _entered(error):
        return 1, f"{error.filename}: {error.strerror}." if error.filename else str(error)
    return 0, ""


def _entered(error: Exception) -> bool:
    """Whether the error was raised inside a job, after composition."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is launch.__code__:
            return True
        trace = trace.tb_next
    return False
