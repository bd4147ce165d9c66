"""The truth about a run: one JSON object an event, appended line by line.

Everything else (MLflow, tables, figures) can be rebuilt from this file.
"""

import errno
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from daso.errors import AFRESH, Damaged
from daso.outputs.files import read_file, replace_file

Row = dict[str, Any]
Mark = Mapping[str, Any]
"""How much of a journal there was at some time: `rows`, `bytes` and their `digest`; of old versions `rows` at most."""

TIME = "time/unix"
"""When a row was written, in seconds since 1970: strictly increasing within a file."""

NAME = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
"""What a metric may be called: a subset of the names that MLflow accepts."""


class Journal:
    """Appends rows {"event", "step", "time/unix", **metrics} to a file; at most one row per (step, event).

    A line is written in one piece, so a killed process loses at most a torn last line, which the next one cuts off.

    Args:
        path: the file; created with the first row.
        now: the clock, in seconds since 1970.
        start: the step and the mark of the checkpoint that a run goes on from, see `kept`; None: after all whole rows.

    Raises:
        Damaged: a line in the middle of an existing file is no row; the file does not begin as the mark says.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time, start: tuple[int, Mark] | None = None) -> None:
        self.path = path
        self._now = now
        self._seen: set[tuple[int, str]] = set()
        self._last = 0.0
        self._written = Prefix()
        self._file: FileIO | None = None
        self._restart(kept(path, *start) if start else b"".join(line for line, _ in _lines(path)))

    def append(self, event: str, step: int, metrics: Mapping[str, float | None]) -> None:
        """Write one row; values that are not finite become null.

        Raises:
            ValueError: a name that MLflow would refuse, or a second row for (step, event).
            OSError: the disk is full; the file ends with its last whole line.
        """
        bad = [name for name in metrics if not NAME.fullmatch(name) or name == TIME]
        if bad:
            raise ValueError(f"not a metric name: {bad[0]!r}")
        if (step, event) in self._seen:
            raise ValueError(f"step {step} has a row of event {event!r} already")
        self._last = max(round(self._now(), 3), round(self._last + 0.001, 3))
        row = {"event": event, "step": step, TIME: self._last} | {k: _finite(v) for k, v in metrics.items()}
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        self._write(line)
        self._written = self._written.plus(line)
        self._seen.add((step, event))

    def sync(self) -> dict[str, Any]:
        """Make every row so far survive a power cut; returns the mark that says how much that is."""
        os.fsync(self._open().fileno())
        size, digest = self._written.note()
        return {"rows": len(self._seen), "bytes": size, "digest": digest}

    def truncate(self, step: int, mark: Mark | None = None) -> None:
        """Drop what was written after a checkpoint, see `kept`. All or nothing.

        Raises:
            Damaged: some of the rest is not what it was.
        """
        self._restart(kept(self.path, step, mark or {}))

    def close(self) -> None:
        """Make all rows durable and let go of the file."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None

    def _restart(self, content: bytes) -> None:
        """Let the file hold `content`, whole rows, and open it for appending."""
        self.close()
        if content != (read_file(self.path) if self.path.exists() else b""):
            replace_file(self.path, content)
        rows = [row for row in map(_parse, content.splitlines(keepends=True)) if row is not None]
        self._seen = {(row["step"], row["event"]) for row in rows}
        self._last = max((row[TIME] for row in rows), default=0.0)
        self._written = Prefix().plus(content)
        self._file = self.path.open("ab", buffering=0)

    def _write(self, line: bytes) -> None:
        file = self._open()
        end = file.seek(0, os.SEEK_END)
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        except OSError:
            os.ftruncate(file.fileno(), end)
            raise

    def _open(self) -> FileIO:
        if self._file is None:
            raise ValueError(f"{self.path} is closed")
        return self._file


class Prefix:
    """The first `size` bytes of a journal and their digest: how far a reader came, and whether it still holds."""

    def __init__(self, size: int = 0, digest: Any = None) -> None:
        self.size = size
        self._digest = digest or hashlib.blake2b(digest_size=16)

    @classmethod
    def of(cls, path: Path, size: int, digest: str) -> "Prefix | None":
        """The prefix that `note` described, or None if the file no longer begins with it."""
        content = b""
        if size and path.exists():
            with path.open("rb") as file:
                content = file.read(size)
        prefix = cls().plus(content)
        return prefix if prefix.note() == [size, digest] else None

    def plus(self, line: bytes) -> "Prefix":
        """The prefix that ends after `line`."""
        digest = self._digest.copy()
        digest.update(line)
        return Prefix(self.size + len(line), digest)

    def note(self) -> list[Any]:
        """Size and digest, for JSON."""
        return [self.size, self._digest.hexdigest()]


def kept(path: Path, step: int, mark: Mark) -> bytes:
    """The part of a journal that a checkpoint was written with.

    Args:
        path: the journal, which may have gone on since.
        step: of the checkpoint.
        mark: what `Journal.sync` said then. With that of an earlier version, the rows up to `step`.

    Raises:
        Damaged: the file does not begin with it.
    """
    if "digest" in mark:
        content = (read_file(path) if path.exists() else b"")[: mark["bytes"]]
        same = Prefix().plus(content).note() == [mark["bytes"], mark["digest"]]
    else:
        try:
            lines = [line for line, row in _lines(path) if row["step"] <= step]
        except Damaged as damage:
            raise Damaged(damage.what, AFRESH) from damage
        content, same = b"".join(lines), mark.get("rows") in (None, len(lines))
    if not same:
        what = f"{path} does not begin with the {mark['rows']} rows that the checkpoint of step {step} was written with"
        raise Damaged(what, AFRESH)
    return content


def read(path: Path) -> Iterator[Row]:
    """The rows of a journal, oldest first; a torn last line is passed over, a missing file has no rows.

    Raises:
        Damaged: a line in the middle is no row.
    """
    return (row for _, row in _lines(path))


def follow(path: Path, start: Prefix) -> Iterator[tuple[Row, Prefix]]:
    """The whole rows after `start`, each with the prefix that it completes; the file may be growing."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(start.size)
        for line in file:
            row = _parse(line)
            if row is None:
                return
            start = start.plus(line)
            yield row, start


def tail(path: Path, size: int = 1 << 18) -> list[Row]:
    """The newest rows, oldest first, for a glance at a long file: those of the last `size` bytes, and as many more as
    it takes to have one of a second event. What cannot be read is passed over.
    """
    rows: list[Row] = []
    taken, events = 0, set()
    for line, row in _backwards(path):
        rows.append(row)
        events.add(row["event"])
        taken += len(line)
        if taken >= size and len(events) > 1:
            break
    return rows[::-1]


def pace(path: Path) -> tuple[int, float]:
    """The newest step of a journal, and the steps a second that it tells; zeros where it tells nothing."""
    rows = tail(path, size=1 << 12)
    rates = [row["time/steps_per_second"] for row in rows if row.get("time/steps_per_second")]
    return max((row["step"] for row in rows), default=0), rates[-1] if rates else 0.0


def _backwards(path: Path) -> Iterator[tuple[bytes, Row]]:
    """The whole rows, newest first, read from the end in ever larger blocks."""
    try:
        with path.open("rb") as file:
            end, size, rest = file.seek(0, os.SEEK_END), 1 << 16, b""
            while end:
                start = max(end - size, 0)
                file.seek(start)
                lines = (file.read(end - start) + rest).splitlines(keepends=True)
                rest = lines.pop(0) if start and lines else b""  # its beginning is in the next block
                for line in reversed(lines):
                    row = _parse(line)
                    if row is not None:
                        yield line, row
                end, size = start, 2 * size
    except OSError:
        return


def _lines(path: Path) -> Iterator[tuple[bytes, Row]]:
    if not path.exists():
        return
    lines = read_file(path).splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        row = _parse(line)
        if row is not None:
            yield line, row
        elif number < len(lines):
            what = f"Line {number} of {path} is damaged"
            raise Damaged(what, "bring back the right file; the final numbers in summary.json do not depend on it")


def _parse(line: bytes) -> Row | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and _is_row(row) else None


def _is_row(row: Row) -> bool:
    """Whether it has what `Journal.append` writes."""
    values = dict(row)
    event, step = values.pop("event", None), values.pop("step", None)
    known = isinstance(event, str) and type(step) is int and step >= 0 and row.get(TIME) is not None
    return known and all(value is None or type(value) in (int, float) for value in values.values())


def _finite(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(value)
