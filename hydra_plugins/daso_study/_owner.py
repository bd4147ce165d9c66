"""Who searches a study: one process at a time, whatever folder it writes to and wherever it runs."""

import hashlib
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout

from daso.credentials import mask_url
from daso.errors import UserError
from daso.track.address import parse, sqlite_file
from daso.track.follower import reason

OWNER = "owner"  # the study's attribute that says who searches it
PATIENCE = 5.0  # seconds to wait for a process that is about to end
BEAT = 3.0  # seconds between two signs of life of an owner
SILENCE = 15.0  # seconds without one after which it counts as dead
SETTLE = 1.0  # seconds in which two that claim a study at once see each other


@contextmanager
def alone(storage: str, name: str, open_study: Callable[[], optuna.Study]) -> Iterator[optuna.Study]:
    """Open a study and be the only process that searches it; whoever dies frees it. A file that was made for
    it goes with a refusal before any trial has ended.

    Beside a database in a file lies a lock, held before it is opened; in a server's, the owner gives signs of life.

    Args:
        storage: the database's URL.
        name: the study's.
        open_study: opens it.

    Raises:
        UserError: another process searches it, or the folder of the database cannot be written.
    """
    database = file_of(storage)
    if database is None:
        with Owner(open_study()) as study:
            yield study
        return
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    lock = FileLock(database.with_name(f".{database.name}.{digest}.lock"))
    try:
        held = lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise taken(name, "another process") from None
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise UserError(f"tune.storage={mask_url(storage)} cannot be used: {why}.") from error
    with held:
        fresh = not database.exists()
        study = open_study()
        try:
            yield study
        except UserError:
            if fresh and not any(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)):
                database.unlink()
                Path(lock.lock_file).unlink(missing_ok=True)
            raise


def file_of(storage: str) -> Path | None:
    """The file that a lock can stand for: an SQLite database's, unless SQLite is told by a URI how to open it."""
    url, found = parse(storage), sqlite_file(storage)
    return None if url is None or found is None or url.database.startswith("file:") else found.resolve()


def taken(name: str, who: str) -> UserError:
    """The sentence for a study that is being searched."""
    right = f"{who} searches it; wait for that one, or choose another name"
    return UserError(f"tune.study={name} is not possible now: {right}.")


class Owner:
    """While entered, this process is the one that searches a study, which says so by a count that keeps growing.

    Clocks of different machines are not compared: an owner is alive if its count changes while one looks. Should
    another process take the study over, as it may when this one stood still, this one is told to stop by SIGTERM.

    Raises:
        UserError: another process searches it.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._token = secrets.token_hex(8)
        self._beats = 0
        self._over = threading.Event()

    def __enter__(self) -> optuna.Study:
        other = self._owner()
        end = time.monotonic() + SILENCE
        while other is not None and time.monotonic() < end:
            time.sleep(BEAT / 3)
            now = self._owner()
            if now is not None and now != other:
                raise self._taken_by(now)
            other = now
        self._beat()
        time.sleep(SETTLE)
        now = self._owner()
        if now is None or now["token"] != self._token:
            raise self._taken_by(now)
        self._thread = threading.Thread(target=self._live, name="owner", daemon=True)
        self._thread.start()
        return self._study

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        now = self._owner()
        if now is not None and now["token"] == self._token:
            self._study.set_user_attr(OWNER, None)

    def _owner(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._study.user_attrs.get(OWNER)
        return found

    def _taken_by(self, owner: dict[str, Any] | None) -> UserError:
        who = "another process" if owner is None else f"process {owner['pid']} on {owner['host']}"
        return taken(self._study.study_name, who)

    def _beat(self) -> None:
        self._beats += 1
        me = {"host": socket.gethostname(), "pid": os.getpid(), "token": self._token, "beats": self._beats}
        self._study.set_user_attr(OWNER, me)

    def _live(self) -> None:
        while not self._over.wait(BEAT):
            try:
                now = self._owner()
                if now is None or now["token"] != self._token:
                    print(f"{self._taken_by(now)} This process ends.", file=sys.stderr)
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                self._beat()
            except Exception as error:  # the database is away for a while
                print(f"Study {self._study.study_name} gave no sign of life: {reason(error)}", file=sys.stderr)
