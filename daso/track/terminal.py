"""Text as it is read: fitted to a terminal, unbroken in a file or a pipe, where nobody knows a width."""

import sys
from copy import copy
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 10_000  # columns, for whoever reads a file
CLEAR = "\r\x1b[K"  # what a live line leaves on a terminal


def terminal(file: IO[str] | None = None, width: int | None = None, live: bool | None = None) -> Console:
    """A console that takes what a person typed for no markup.

    Args:
        file: where to; standard output by default.
        width: columns; the terminal's by default, and as many as a line needs where there is none.
        live: whether it is a terminal; found out by default.
    """
    console = Console(file=file, width=width, force_terminal=live, highlight=False, markup=False, emoji=False)
    if width is None and not console.is_terminal:
        console.width = WIDE
    return console


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table, and its caption as wide as the terminal; where there is none, both as wide as their content and
    without blanks at the ends of lines."""
    console = console or terminal()
    grid = copy(table)
    grid.caption = None  # the library's is no wider than the table
    below = [Text(str(table.caption), "table.caption")] if table.caption else []
    if console.is_terminal:
        console.print(grid, *below, sep="\n")
        return
    width = min(console.width, Console(width=WIDE, markup=False, emoji=False).measure(grid).maximum)
    with console.capture() as captured:
        console.print(grid, width=max(width, 1))
        for line in below:
            console.print(line)
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    console.file.flush()


def print_line(text: str) -> None:
    """Print a line as one, however long: a command can be copied from it."""
    terminal().print(text, soft_wrap=True)


def announce(text: str) -> None:
    """A first line for whoever reads a file or a pipe; a terminal has had one."""
    if not sys.stdout.isatty():
        print(text, flush=True)


def complain(text: str, whose: str = "") -> None:
    """Print a sentence to standard error, where a live line may stand; each line after the label of the job `whose` it
    is, if it is one's.
    """
    before = f"{CLEAR if sys.stderr.isatty() else ''}{f'{whose} | ' if whose else ''}"
    print("\n".join(f"{before}{line}" for line in text.splitlines()), file=sys.stderr)
