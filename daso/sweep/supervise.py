"""Jobs of a sweep: each in a process of its own, stopped together, and never outliving the sweep."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from typing import TypeVar

from daso.machine.signals import ignores_hangup

Result = TypeVar("Result")

POLL = 0.5  # seconds between two looks at the parent and at the wish to stop
GRACE = 8.0  # seconds that an orphan has for its checkpoint
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FROM_TERMINALS = (signal.SIGINT, signal.SIGQUIT)  # by Ctrl-C and Ctrl-\, to all processes of a group
PATIENCE = 2 * GRACE  # seconds to wait for the lock of a run whose process may be dying


class Killed(Exception):  # noqa: N818  it names what befell a process
    """A job's process ended without a result."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.signum = max(-exit_code, 0)
        self.exit_code = exit_code

    def __str__(self) -> str:
        if not self.signum:
            return f"Its process ended with exit code {self.exit_code}."
        memory = ", perhaps for its memory" if self.signum == signal.SIGKILL else ""
        return f"Its process was killed by {signal.Signals(self.signum).name}{memory}."


def orphaned() -> bool:
    """Whether the process that started this one, a worker or a job, is gone."""
    parent = multiprocessing.parent_process()
    return parent is not None and os.getppid() != parent.pid


def is_worker() -> bool:
    """Whether this process was started to work for another one, as those of joblib are."""
    return multiprocessing.parent_process() is not None


@cache
def follow_parent() -> None:
    """End this worker soon after the process that it works for; its job, then an orphan, writes a checkpoint."""
    threading.Thread(target=_follow, name="follow", daemon=True).start()


def isolated(
    task: Callable[[], Result], stopping: Callable[[], bool] = lambda: False, tick: Callable[[], None] = lambda: None
) -> Result:
    """Run `task` in a forked process, so that no way to die of it reaches this one.

    The process stays in the group that a terminal stops (Ctrl-Z) and continues (`fg`, `bg`) as one program. What a
    terminal ends programs with is kept from it and its children: Ctrl-C reaches it through `stopping` alone, and once.

    Args:
        task: what to do; its result is pickled. It raises nothing.
        stopping: whether it is to end; asked from the task's process.
        tick: called now and then while it is waited for.

    Raises:
        Killed: the process ended without a result.
    """
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(task, stopping, receive, send))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FROM_TERMINALS)  # which the process inherits
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    send.close()
    try:
        while not receive.poll(POLL):
            tick()
        result: Result = receive.recv()
    except EOFError:
        process.join()
        raise Killed(process.exitcode or 0) from None
    except BaseException:
        process.kill()
        process.join()
        raise
    process.join()
    return result


def watch(stopping: Callable[[], bool], signum: signal.Signals) -> threading.Event:
    """Send this process `signum` once `stopping()`, or once its parent is gone; until the event is set."""
    over = threading.Event()
    threading.Thread(target=_watch, args=(stopping, signum, over), name="watch", daemon=True).start()
    return over


def _follow() -> None:
    while not orphaned():
        time.sleep(POLL)
    os._exit(1)


def _work(task: Callable[[], Result], stopping: Callable[[], bool], receive: Connection, send: Connection) -> None:
    receive.close()
    for number in (number for number in ENDING if not ignores_hangup(number)):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    over = watch(stopping, signal.SIGTERM)
    result = task()
    over.set()
    with suppress(BrokenPipeError):  # nobody is left to hear it
        send.send(result)


def _watch(stopping: Callable[[], bool], signum: signal.Signals, over: threading.Event) -> None:
    while not over.wait(POLL):
        orphan = orphaned()
        if orphan or stopping():
            os.kill(os.getpid(), signum)
            if orphan and not over.wait(GRACE):
                os.kill(os.getpid(), signal.SIGKILL)
            return
