"""Which job said what: lines of jobs that run at the same time bear its name."""

import io
from typing import TextIO


class Named(io.TextIOBase):
    """Writes whole lines to another stream, each after a name; no terminal, whatever the other stream is.

    Args:
        stream: where to.
        name: whose lines they are.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._line = ""

    def write(self, text: str) -> int:
        """Keep `text` until its line is complete."""
        *lines, self._line = (self._line + text).split("\n")
        if lines:
            self._stream.write("".join(f"{self._name} | {line.rstrip()}\n" for line in lines))
            self._stream.flush()
        return len(text)

    def writable(self) -> bool:
        """Always."""
        return True
