"""Stop requests: remembered, acted upon between two steps, and handed on to a scheduler that starts the job again."""

import os
import signal
import stat
import subprocess
import threading
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any

from daso.errors import Interrupted


class StopRequest:
    """While entered, the first SIGINT, SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2 is remembered; further ones change nothing,
    for schedulers send several, except that a SIGINT then acts at once, without a checkpoint. A SIGHUP that is ignored,
    as under nohup, stays so.

    When the run has stopped for it, a job of a cluster is put into the queue again, see `requeue`.
    Outside the main thread, where Python takes no signals, it never remembers one.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

    def __init__(self) -> None:
        self.signum: int | None = None

    def __call__(self) -> int | None:
        """The remembered signal number, or None."""
        return self.signum

    def __enter__(self) -> "StopRequest":
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            heard = [number for number in self.SIGNALS if not ignores_hangup(number)]
            self._previous = {number: signal.signal(number, self._remember) for number in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._main:
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if isinstance(error, Interrupted):
            requeue(error.signum, self._previous)

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGHUP:
            leave_terminal()
        if self.signum is not None and signum == signal.SIGINT:
            raise Interrupted(signum)
        self.signum = self.signum or signum


def ignores_hangup(number: signal.Signals) -> bool:
    """Whether `number` is the end of the terminal, of which this process is to take no notice."""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


def leave_terminal() -> None:
    """Write to nowhere what would go to a terminal: once it is closed, every write is an error."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        if _is_terminal(stream):
            os.dup2(nowhere, stream)
    os.close(nowhere)


def _is_terminal(stream: int) -> bool:
    """Whether a stream is a terminal, or was one until it was closed."""
    try:
        return stat.S_ISCHR(os.fstat(stream).st_mode)
    except OSError:
        return False


def requeue(signum: int, handlers: Mapping[signal.Signals, Any]) -> None:
    """Let submitit put this job into the queue again; nothing happens outside its jobs.

    Its handler is found at SIGUSR2, or at SIGUSR1 if so configured. SIGTERM goes there as well, except where SLURM is
    about to end the job: then SLURM starts it again itself, or somebody cancelled it.

    Args:
        signum: what stopped the run.
        handlers: the handlers from before the run, by signal.

    Raises:
        SystemExit: the job is in the queue, and this process has to end.
    """
    found = [handlers.get(number) for number in (signal.SIGUSR2, signal.SIGUSR1)]
    handler: Callable[[int, FrameType | None], object] | None = next(filter(callable, found), None)
    if "SUBMITIT_EXECUTOR" not in os.environ or handler is None:
        return
    by_hand = signum in (signal.SIGINT, signal.SIGHUP)
    if not by_hand and not (signum == signal.SIGTERM and slurm_ends_job()):
        handler(signum, None)


def slurm_ends_job() -> bool:
    """Whether SLURM no longer counts this job among the running ones."""
    job, array = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_ARRAY_JOB_ID")
    if job is None:
        return False
    if array is not None:  # one task's own number may stand for the whole array
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    question = ["squeue", "--noheader", "--jobs", job, "--format", "%T"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return True
    return answer.stdout.strip() != "RUNNING"
