"""One index file: the row number of an image in each line, as any program may have written it.

Taken is what can mean one thing only: any end of line, a byte order mark, blank lines, comments (#), commas, semicolons
or tabs, quotes, `12.0` for 12, a line of column names, and a second column of labels, which are compared with the true
ones later. Everything else is refused by file and line.
"""

import codecs
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from daso.errors import UserError

ENCODINGS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # by how a file begins; else UTF-8
MARK = "\ufeff"  # also at the start of a later line, where files were joined
BETWEEN = re.compile(r"[\s,;]+")
NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{0,20}([eE]\+?[0-9]{1,2})?)?")
UNKNOWN_LABEL = -1  # in a second column: nobody knows
LARGEST = 2**53  # up to which a float-like number is exact, whoever wrote it
ROW_NAMES = ("row", "rows", "index", "indices", "idx", "id")
LABEL_NAMES = ("label", "labels", "target", "targets", "class", "y")
RIGHT = "one stands in each line, at most with its label beside it"

Numbers = npt.NDArray[np.int64]


class RowFile(NamedTuple):
    """What an index file says."""

    rows: Numbers  # [N], in the order of the lines
    labels: Numbers | None  # [N], the second column; None where there is none
    lines: Numbers  # [N], where each row stands, from 1

    def line_of(self, row: int) -> int:
        """The line in which a row stands."""
        return int(self.lines[self.rows == row][0])


def read(path: Path) -> RowFile:
    """Read an index file; where there is none, there are no rows.

    Raises:
        UserError: it cannot be read, a line is something else than a row number and perhaps a label, or a row stands in
            two lines.
    """
    rows: list[int] = []
    labels: list[int] = []
    lines: list[int] = []
    for line, words in _content(path):
        row, *label = [_number(path, line, word) for word in words]
        if row < 0:
            raise UserError(f"{path} is not possible: {row} is no row number (line {line}); {RIGHT}.")
        if len(label) > 1 or len(label) * len(rows) != len(labels):
            held = f"{len(words)} number{'s' * (len(words) > 1)}"
            held += f", and those before it {1 + bool(labels)}" if len(label) < 2 else ""
            raise UserError(f"{path} is not possible: line {line} holds {held}; {RIGHT}.")
        rows.append(row)
        labels += label
        lines.append(line)
    found = RowFile(_array(rows), _array(labels) if labels else None, _array(lines))
    values, times = np.unique(found.rows, return_counts=True)
    if (times > 1).any():
        twice = values[times > 1][0]
        first, second = found.lines[found.rows == twice][:2]
        raise UserError(f"{path} is not possible: row {twice} stands in it twice, in lines {first} and {second}.")
    return found


def _content(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines that hold something, by number, each in words; comments and a line of column names left out."""
    begun = False
    for line, text in enumerate(re.split(r"\r\n|\r|\n", _text(path)), 1):
        words = [word.strip("\"'") for word in BETWEEN.split(text.strip(MARK)) if word]
        if not words or words[0].startswith("#"):
            continue
        names = [word.lower() for word in words]
        named = names[0] in ROW_NAMES and (not names[1:] or (len(names) == 2 and names[1] in LABEL_NAMES))
        if begun or not named:
            yield line, words
        begun = True


def _text(path: Path) -> str:
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UserError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    return content.decode(ENCODINGS.get(content[:2], "utf-8"), errors="replace")


def _number(path: Path, line: int, word: str) -> int:
    if word.isascii() and word.isdecimal() and len(word) < 16:
        return int(word)
    value = Decimal(word) if NUMBER.fullmatch(word) else Decimal("nan")
    if not (value == value.to_integral_value() and abs(value) < LARGEST):
        shown = word if word.isascii() and word.isprintable() else ascii(word)[1:-1]
        raise UserError(f"{path} is not possible: {shown[:20]} is no row number (line {line}); {RIGHT}.")
    return int(value)


def _array(numbers: list[int]) -> Numbers:
    return np.array(numbers, dtype=np.int64)
