"""An SQLite file that is a store: made, and brought to a newer schema, in one piece or not at all.

MLflow does both in place, in dozens of transactions. A kill between two of them leaves a file that neither it nor this
project could use again, and processes that do it at once get into each other's way. So a file is built beside its place
and put there when it is whole, by one process at a time.
"""

import itertools
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from filelock import Timeout

from daso.errors import UserError
from daso.outputs.locks import lock_on

PATIENCE = 60.0  # seconds to wait for another process that makes the store, or holds its database
REMEDY = "the run folders can fill a new one: move that file away, then python -m daso.runs mirror all"


class Schema(NamedTuple):
    """How a library keeps its tables."""

    make: Callable[[Path], None]  # writes them into a new file
    upgrade: Callable[[Path], None]  # brings an older file to the newest revision
    revisions: Callable[[], Sequence[str]]  # all that it knows, the newest first


def prepare(path: Path, schema: Schema) -> str:
    """Make sure that a store of the newest revision is at `path`; any number of processes may ask for it at once.

    Returns:
        What was done to a file that was there, in a sentence; empty if nothing.

    Raises:
        UserError: the file is of another program or of a newer version, it cannot be upgraded, or another process does
            not let go of it.
        OSError, sqlite3.Error: it cannot be read or written.
    """
    path, newest = path.resolve(), schema.revisions()[0]
    if _revision(path) == newest:
        return ""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with lock_on(Path(f"{path}.lock")).acquire(timeout=PATIENCE):
            found = _revision(path)
            if found == newest:
                return ""
            for left in path.parent.glob(f".{path.name}.*.new*"):  # by a process that was killed
                left.unlink(missing_ok=True)
            if _tables(path):
                return _renewed(path, found, schema)
            with _new(path) as beside:
                schema.make(beside)
            return ""
    except Timeout:
        raise UserError(f"Another process has held {path}.lock for {PATIENCE:g} s: end it, or wait for it.") from None


def discard(path: Path, experiment: str) -> None:
    """Remove a store that was made in vain, unless it knows of another experiment by now."""
    path, lock = path.resolve(), Path(f"{path.resolve()}.lock")
    with suppress(OSError, sqlite3.Error, Timeout), lock_on(lock).acquire(timeout=0):
        known = {name for (name,) in _ask(path, "SELECT name FROM experiments")}
        if known <= {"Default", experiment}:
            path.unlink()
            lock.unlink()


def _renewed(path: Path, found: str, schema: Schema) -> str:
    """Replace a file that is there by one of the newest revision; keep it under another name."""
    tables = _tables(path)
    if "experiments" not in tables:
        raise UserError(f"{path} holds the tables of another program: choose another file for the store.")
    if found and found not in schema.revisions():
        raise UserError(f"{path} was made by a newer version ({found}) than the one installed: use that, or {REMEDY}.")
    kept = _unused(f"{path}.{found or 'broken'}")
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        old.execute("BEGIN IMMEDIATE")  # nobody writes what the copies would lack
        runs = old.execute("SELECT count(*) FROM runs").fetchone()[0] if "runs" in tables else 0
        try:
            with _new(path) as beside:
                _copy(path, beside)
                schema.upgrade(beside)
                _copy(path, kept)
            return f"{path} was of an older version and is upgraded; as it was, it is kept as {kept.name}."
        except Exception as error:
            if runs:
                why = str(error).partition("\n")[0]
                raise UserError(f"{path} cannot be upgraded and is left as it was ({why}); {REMEDY}.") from error
        with _new(path) as beside:
            schema.make(beside)
            _copy(path, kept)
    return f"{path} was left half made, without a run, and is made anew; as it was, it is kept as {kept.name}."


@contextmanager
def _new(path: Path) -> Iterator[Path]:
    """A file to be written, which then takes the place of `path` and its mode."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield beside
        if path.exists():
            shutil.copymode(path, beside)
            with suppress(OSError):
                os.chown(beside, -1, path.stat().st_gid)
        _flush(beside)
        beside.replace(path)
        _flush(path.parent)
    finally:
        for left in path.parent.glob(f"{beside.name}*"):
            left.unlink(missing_ok=True)


def _copy(path: Path, to: Path) -> None:
    with closing(sqlite3.connect(path)) as database, closing(sqlite3.connect(to)) as copy:
        database.backup(copy)


def _unused(name: str) -> Path:
    """The name of a file that is not there."""
    names = (Path(f"{name}{f'.{number}' if number else ''}.old") for number in itertools.count())
    return next(path for path in names if not path.exists())


def _revision(path: Path) -> str:
    """The revision that a file says it is of; empty if it says none, or is not there."""
    if "alembic_version" not in _tables(path):
        return ""
    found = _ask(path, "SELECT version_num FROM alembic_version")
    return str(found[0][0]) if found else ""


def _tables(path: Path) -> set[str]:
    return {str(row[0]) for row in _ask(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def _ask(path: Path, question: str) -> list[tuple[object, ...]]:
    """Rows of a file that is there, without making one."""
    if not path.exists() or not path.stat().st_size:
        return []
    with closing(
        sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=rw", uri=True, timeout=PATIENCE)
    ) as database:
        return database.execute(question).fetchall()


def _flush(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
