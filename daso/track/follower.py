"""A background thread that keeps a tracker up to date with a live run, whatever becomes of the tracker.

What a tracker is lies behind `Backend`: it reads the run directory, above all `metrics.jsonl`, and can go on from any
state that it was left in. MLflow is one; another needs a class of this form, and nothing here.
"""

import re
import sys
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

from daso.credentials import mask
from daso.errors import UserError

Status = Literal["FINISHED", "FAILED", "KILLED"]
"""How a run ended."""

STALL = 6.0  # seconds without progress after which a tracker is not waited for any longer
LIMIT = 20.0  # seconds that it may take in all once the run is over
HURRY = 5.0  # the same for a run that was told to stop, and may be killed soon
LAST_TRIES = 3  # after the run's end, a second apart
SHARE = 0.1  # of the time that is spent on sending, at most
PAUSE = 5.0  # seconds between two sendings that this costs at most
AGAIN = 600.0  # seconds after which a warning has left the screen
BROKEN = re.compile("database disk image is malformed|file is not a database")  # what SQLite says after a power cut


class Backend(Protocol):
    """A tracker as a mirror of one run directory. It blocks, and raises whatever its library raises."""

    name: str
    """What people call it."""
    place: str
    """Where it is, without credentials."""
    remedy: str
    """The command that brings it up to date by hand."""
    gains: int
    """How often it got a step further."""

    def send(self) -> None:
        """Send everything that is new in the run directory."""

    def close(self, status: Status, artifacts: Sequence[Path] = ()) -> None:
        """Send what is left for the end, and files and folders that exist; say how the run ended."""

    def reopen(self) -> None:
        """Forget every connection: the next call begins as a new process would."""


class Follower:
    """Follows a live run from a background thread; neither an import nor an outage holds the run up.

    Args:
        backend: what is kept up to date.
        warn: told in one sentence, from the thread, when it cannot be, and how to mend that.
    """

    def __init__(self, backend: Backend, warn: Callable[[str], None]) -> None:
        self._backend = backend
        self._warn = warn
        self._warned: float | None = None  # when
        self._rows = threading.Event()
        self._ended = threading.Event()
        self._complete = False
        self._status: Status = "KILLED"
        self._artifacts: Sequence[Path] = ()
        self._since: float | None = None  # when the thread began what it is at; None: it waits
        self._thread = threading.Thread(target=self._work, name=f"{backend.name}-mirror", daemon=True)

    def start(self) -> bool:
        """Begin to send what is there. Returns at once; False if the system has no thread left for it."""
        self._rows.set()
        try:
            self._thread.start()
        except RuntimeError as error:
            self._say("is not told of this run", str(error))
            return False
        return True

    def notify(self) -> None:
        """Say that rows were written: they are sent soon. Returns at once."""
        self._rows.set()

    def end(self, status: Status, artifacts: Sequence[Path] = ()) -> None:
        """Say that the run is over, and how, see `finish`. Returns at once."""
        self._status, self._artifacts = status, artifacts
        self._ended.set()
        self._rows.set()

    def finish(
        self, status: Status, artifacts: Sequence[Path] = (), timeout: float = STALL, spent: float = 0.0
    ) -> bool:
        """Have the rest sent and the tracker told of the end; give up when that takes too long.

        Args:
            status: how the run ended.
            artifacts: files and folders to upload.
            timeout: seconds to wait while nothing gets on.
            spent: seconds that were waited since the end already, for another tracker.

        Returns:
            Whether everything arrived; if not, the user has been told how to mend it.
        """
        self.end(status, artifacts)
        limit = max((HURRY if status == "KILLED" else LIMIT) - spent, 0.0)
        waited = wait(self._thread, lambda: self._backend.gains, timeout, limit, self._since)
        if not self._complete:
            self._say("has not taken everything", f"given up after {waited:.0f} s")
        return self._complete

    def _work(self) -> None:
        delay, tries = 1.0, 0
        while True:
            ended = self._ended.is_set()
            self._since = began = time.monotonic()
            try:
                self._backend.send()
                if ended:
                    self._backend.close(self._status, self._artifacts)
                    self._complete = True
                    return
                self._since, delay = None, 1.0
                self._ended.wait(min((time.monotonic() - began) / SHARE, PAUSE))
                self._rows.wait()
                self._rows.clear()
            except Exception as error:  # whatever goes wrong with tracking, training goes on
                self._since = None
                self._backend.reopen()
                tries += ended
                if tries >= LAST_TRIES:
                    self._say("has not taken everything", reason(error))
                    return
                if ended:
                    time.sleep(1.0)
                else:
                    self._say("cannot be used now, training goes on", reason(error))
                    self._ended.wait(delay)
                    delay = min(2 * delay, 60.0)

    def _say(self, what: str, why: str) -> None:
        """Warn once, and at the end once more if that is long ago."""
        if self._warned is None or (self._ended.is_set() and time.monotonic() - self._warned > AGAIN):
            self._warned = time.monotonic()
            tracker, remedy = f"{self._backend.name} at {self._backend.place}", self._backend.remedy
            with suppress(OSError, ValueError):  # nobody reads the console anymore
                self._warn(f"{tracker} {what} ({why}); afterwards `{remedy}` brings it up to date.")


def wait(
    thread: threading.Thread, gains: Callable[[], Hashable], stall: float, limit: float, since: float | None = None
) -> float:
    """Wait for a thread while it gets on: while `gains()` changes, or modules are imported.

    Args:
        thread: what to wait for.
        gains: changes with each step that it gets on.
        stall: seconds without a change after which nobody waits any longer.
        limit: seconds to wait in all.
        since: when (monotonic) what it is at began, if it has been at something already.

    Returns:
        The seconds that it had been at that.
    """
    began = time.monotonic()
    changed = began if since is None else max(since, began - stall + min(1.0, stall))  # a second to be seen at work
    seen = (gains(), len(sys.modules))
    while thread.is_alive():
        now = time.monotonic()
        if (found := (gains(), len(sys.modules))) != seen:
            seen, changed = found, now
        if now - changed >= stall or now - began >= limit:
            break
        thread.join(0.05)
    return time.monotonic() - (since or began)


def attempt(
    task: Callable[[], object], gains: Callable[[], Hashable] = lambda: 0, stall: float = STALL, limit: float = LIMIT
) -> str:
    """Do something with a tracker in a thread, which is left behind if it hangs, see `wait`.

    Returns:
        Why it was not done; empty if it was.
    """
    failures = ["it does not answer in time"]

    def work() -> None:
        try:
            task()
            failures.clear()
        except Exception as error:  # whatever a tracker's library raises
            failures[:] = [reason(error)]

    thread = threading.Thread(target=work, name="tracking", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # the system has no thread left
        return str(error)
    wait(thread, gains, stall, limit)
    return "".join(failures)


def reason(error: Exception) -> str:
    """The first line of an error without credentials, short enough for a sentence; of a broken SQLite file, what to do
    with it."""
    if isinstance(error, UserError):
        return str(error).rstrip(".")
    texts = [str(link) for link in (error, error.__cause__) if link is not None]
    if broken := BROKEN.search(" ".join(texts)):
        return f"{broken[0]}; remove that file, which the run folders can fill again"
    lines = mask(texts[0]).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")[:200]
