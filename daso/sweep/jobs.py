"""One job of a sweep, from its start to a `JobResult`, whatever becomes of it."""

import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from math import nan

from daso.credentials import mask
from daso.errors import Interrupted, RunFailed, UserError
from daso.outputs.rundir import RunDir
from daso.schema import Config
from daso.sweep.lines import Named
from daso.sweep.session import FAIL_FAST, FAILED, FINISHED, REFUSED, STOPPED, End, JobResult, Session
from daso.sweep.supervise import POLL, Killed, is_worker, isolated, watch
from daso.track.progress import then

Go = Callable[[], float]

QUIET = 60.0  # seconds without a sign of a job after which nobody waits for it
BECAME = {FAILED: "failed", REFUSED: "was refused", STOPPED: "was stopped"}


def run_job(
    config: Config,
    go: Go,
    session: Session | None,
    number: int,
    prepare: Callable[[], None] = lambda: None,
    tick: Callable[[], None] = lambda: None,
) -> JobResult:
    """Run one job and say how it ended.

    Args:
        config: what it is.
        go: runs it.
        session: the sweep; without one the job knows of no others.
        number: the job's number in it.
        prepare: called in a process that forks one for each of its jobs: imports what all of them need.
        tick: called now and then while a job has the word: shows how the sweep goes.

    Raises:
        KeyboardInterrupt: a signal asked the process to stop that works for nobody else.
    """
    if session is None:
        return _attempt(config, go)
    # Processes that several jobs share fork one for each; a cluster's job has one of its own.
    shares = session.owned() or is_worker()
    stop = session.stopping()
    if stop is not None and session.owned():
        raise Interrupted(stop)
    spoiled = spoiled_stage(session, config.run_key) if stop is None else None
    if session.stopping() is not None:
        return JobResult(nan, STOPPED, config.run_key, "not started")
    if spoiled is not None:
        reason = f"It is built on run {spoiled.key}, which {BECAME[spoiled.state]}: {spoiled.reason}"
        return JobResult(nan, STOPPED if spoiled.state == STOPPED else FAILED, config.run_key, reason)
    with suppress(OSError):  # a full disk, of which the run says more
        session.begin(number, config.run_key)
    if not shares:
        return _direct(config, go, session)
    prepare()
    return _forked(config, go, session, tick)


def spoiled_stage(session: Session, run_key: str) -> End | None:
    """Wait for the jobs that a run is built on; gives the end of one that did not finish, or None.

    Only among processes that take jobs in parallel is there anything to wait for, and they wait without a device: one
    process alone made it before, and a cluster starts no job earlier. What nobody works on, the run makes for itself.
    """
    heard = time.monotonic()
    while needs := session.needs(run_key):
        ends = {end.key: end for end in session.ends() if end.key in needs}
        if spoiled := next((end for end in ends.values() if end.state != FINISHED), None):
            return spoiled
        missing = set(needs) - ends.keys()
        if not missing or not is_worker() or session.stopping() is not None:
            break
        if missing & session.busy():
            heard = time.monotonic()
        elif time.monotonic() - heard > QUIET:
            break
        time.sleep(POLL)
    return None


def _forked(config: Config, go: Go, session: Session, tick: Callable[[], None]) -> JobResult:
    """A job in a process of its own: neither a crash nor the kernel's memory killer carries over to others."""

    def attempt() -> JobResult:
        if not session.label(config.run_key):
            return _attempt(config, go, session)
        name = session.prefix(config.run_key)
        with redirect_stdout(Named(sys.stdout, name)), redirect_stderr(Named(sys.stderr, name)):
            return _attempt(config, go, session)

    try:
        result = isolated(attempt, lambda: session.stopping() is not None, tick)
    except Killed as death:
        state = FAILED if session.stopping() is None else STOPPED
        result = JobResult(nan, state, config.run_key, str(death))
    folder = RunDir(config.out_root, config.run_key)
    if result.state == FAILED and folder.path.exists():
        folder.mark_failed(result.reason)
    return result


def _direct(config: Config, go: Go, session: Session) -> JobResult:
    """A job in this process. What stops it stops the process, whose scheduler may know how to go on."""
    over = watch(lambda: session.stopping() is not None, signal.SIGINT)
    try:
        return _attempt(config, go)
    finally:
        over.set()


def _attempt(config: Config, go: Go, session: Session | None = None) -> JobResult:
    key = config.run_key
    try:
        return JobResult(go(), FINISHED, key)
    except UserError as error:
        return JobResult(nan, REFUSED, key, str(error))
    except RunFailed as error:
        return JobResult(nan, FAILED, key, str(error))
    except KeyboardInterrupt as error:
        if not is_worker():
            raise
        number = error.signum if isinstance(error, Interrupted) else signal.SIGINT
        asked = None if session is None else session.stopping()
        cause = "another job's failure" if asked == FAIL_FAST else signal.Signals(asked or number).name
        return JobResult(nan, STOPPED, key, f"stopped by {cause}; {then(RunDir(config.out_root, key), config.force)}")
    except Exception as error:
        print(mask(traceback.format_exc()), end="", file=sys.stderr)
        return JobResult(nan, FAILED, key, mask(f"{type(error).__name__}: {error}"))
