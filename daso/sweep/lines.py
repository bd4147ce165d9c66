"""Which job said what: lines of the jobs of a sweep bear its name."""

import io
from typing import TextIO

from daso.track.terminal import CLEAR


class Named(io.TextIOBase):
    """Writes whole lines to another stream, each after a name, and on a terminal in the place of the sweep's live line;
    no terminal itself, whatever the other stream is.

    Args:
        stream: where to.
        name: whose lines they are; empty where that is clear.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._before = f"{name} | " if name else ""
        self._line = ""
        self.followed = stream.isatty()  # there the sweep's line tells how far the job is
        self._clear = CLEAR if self.followed else ""

    def write(self, text: str) -> int:
        """Keep `text` until its line is complete."""
        *lines, self._line = (self._line + text).split("\n")
        if lines:
            self._stream.write("".join(f"{self._clear}{self._before}{line.rstrip()}\n" for line in lines))
            self._stream.flush()
        return len(text)

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The other stream's, for processes that write to it by themselves."""
        return self._stream.fileno()
