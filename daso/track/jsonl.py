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

from daso.errors import UserError
from daso.outputs.files import replace_file

Row = dict[str, Any]

TIME = "time/unix"
"""When a row was written, in seconds since 1970: strictly increasing within a file."""

NAME = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
"""What a metric may be called: a subset of the names that MLflow accepts."""


class Journal:
    """Appends rows {"event", "step", "time/unix", **metrics} to a file; at most one row per (step, event).

    A line is written in one piece, so a killed process loses at most a torn last line, which the next one cuts off.

    Args:
        path: the file; created with the first row, continued if it is there.
        now: the clock, in seconds since 1970.

    Raises:
        UserError: a line in the middle of an existing file is not JSON.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._now = now
        self._seen: set[tuple[int, str]] = set()
        self._last = 0.0
        self._file: FileIO | None = None
        self._rewrite(lambda row: True)

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
        self._write(json.dumps(row, allow_nan=False).encode() + b"\n")
        self._seen.add((step, event))

    def sync(self) -> int:
        """Make every row so far survive a power cut; returns how many there are."""
        os.fsync(self._open().fileno())
        return len(self._seen)

    def truncate(self, step: int, rows: int | None = None) -> None:
        """Drop the rows after `step`, the step of the checkpoint that a run goes on from. All or nothing.

        Args:
            step: of the checkpoint.
            rows: how many there were when it was written; None if nobody knows.

        Raises:
            UserError: some of them are gone; the run would end without them.
        """
        self._rewrite(lambda row: bool(row["step"] <= step))
        if rows not in (None, len(self._seen)):
            raise UserError(
                f"{self.path} has lost rows: {len(self._seen)} of {rows} up to step {step} are left; "
                "bring back the right file, or start that run afresh with force=true."
            )

    def close(self) -> None:
        """Make all rows durable and let go of the file."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None

    def _rewrite(self, keep: Callable[[Row], bool]) -> None:
        """Keep the whole rows that `keep` accepts, then open the file for appending."""
        self.close()
        old = self.path.read_bytes() if self.path.exists() else b""
        kept = [(line, row) for line, row in _lines(self.path) if keep(row)]
        new = b"".join(line for line, _ in kept)
        if new != old:
            replace_file(self.path, new)
        self._seen = {(row["step"], row["event"]) for _, row in kept}
        self._last = max((row[TIME] for _, row in kept), default=0.0)
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


def read(path: Path) -> Iterator[Row]:
    """The rows of a journal, oldest first; a torn last line is passed over, a missing file has no rows.

    Raises:
        UserError: a line in the middle is not JSON.
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
    """The whole rows among the last `size` bytes, oldest first: a glance at a long file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        start = max(file.seek(0, os.SEEK_END) - size, 0)
        file.seek(start)
        lines = file.read().splitlines(keepends=True)[1 if start else 0 :]
    rows = (_parse(line) for line in lines)
    return [row for row in rows if row is not None]


def _lines(path: Path) -> Iterator[tuple[bytes, Row]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            row = _parse(line)
            if row is None:
                if file.read(1):
                    raise UserError(f"Line {number} of {path} is damaged: remove that line, or the run's folder.")
                return
            yield line, row


def _parse(line: bytes) -> Row | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and {"event", "step", TIME} <= row.keys() else None


def _finite(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(value)
