"""Standard streams that cost no run: whoever reads them may go away, and may never have been there."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import IO, Any

STARTS = "Starting; the libraries take some seconds."
SOON = 0.5  # seconds, with those of an interpreter's start within one


class Lasting(io.FileIO):
    """A stream that outlives its reader: what can no longer be written is dropped."""

    def write(self, data: Any) -> int:
        """Write `data`, or say so: to a closed pipe, a full disk or a terminal that is gone."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def log_of(path: Path) -> IO[str]:
    """A text file that is appended to line by line; what a full disk does not take is dropped.

    Raises:
        OSError: it cannot be opened.
    """
    raw: Any = Lasting(path, "a")
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


def say_start() -> None:
    """The first line of a command that takes its time, on standard error, as its output may go to a program."""
    print(STARTS, file=sys.stderr, flush=True)


@contextmanager
def heard(soon: float = SOON) -> Iterator[None]:
    """A command whose user hears of it `soon`, in seconds, where it takes longer."""
    timer = Timer(soon, say_start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def outlive_readers() -> None:
    """Make this process go on when its standard output or standard error cannot be written anymore.

    A standard stream that was closed before the program began (`>&-`) is opened to nowhere: its number would else be
    that of the next file, a checkpoint perhaps, into which some library would print. May be called again.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is not getattr(sys, f"__{name}__"):
            continue  # not the process's own: replaced already, or captured
        stream = getattr(sys, name) or os.fdopen(number, "w", encoding="utf-8", closefd=False)
        with suppress(OSError):
            stream.flush()
        raw: Any = Lasting(number, "w", closefd=False)
        lasting = io.TextIOWrapper(
            raw if stream.write_through else io.BufferedWriter(raw),  # as under python -u
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, lasting)
