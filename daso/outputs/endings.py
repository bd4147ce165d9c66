"""What the ending of a name that a person gives says: the format of a file, or a folder; never another one."""

import re
from collections.abc import Sequence
from pathlib import Path

from daso.errors import UserError

EXPORTED = ".pt2"
"""Of a network that torch alone can load, as torch wants it."""


def ending(key: str, name: str, noun: str, known: Sequence[str], folder: bool = False) -> str:
    """The suffix of a name in lower case, one of `known`; empty for a folder.

    Args:
        key: what the name is given as, for a sentence.
        name: of a file or a folder.
        noun: what is written, for a sentence.
        known: the suffixes of files that it may be written as.
        folder: whether it may be written into a folder: a name without suffix, or one that is there.

    Raises:
        UserError: another suffix, or none where a file is to be written.
    """
    path = Path(name).expanduser()
    suffix = path.suffix.lower()
    if suffix in known:
        return suffix
    if folder and (not re.match(r"\.[a-z]", suffix) or path.is_dir()):
        return ""
    ways = [f"as {either(known)}"] * bool(known) + ["into a folder"] * folder
    raise UserError(f"{key}={name} is not possible: {noun} is written {either(ways)}.")


def either(items: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)
