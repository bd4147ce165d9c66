"""What a reader of image files finds: their paths and labels, set by set, before a single image is opened."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from daso.errors import UserError

SETS = ("labeled", "unlabeled", "valid", "test")
ALIASES = {"labeled": ("train",), "valid": ("validation", "val")}  # what people call them as well
OWN = ".daso"  # the folder beside the images that is ours
UNKNOWN, OUT = -1, -2  # truth of an unlabeled image: nobody knows; known to be none of the classes

Label = str | int


class Item(NamedTuple):
    """One image file."""

    path: str  # relative to the root, parts joined by /; absolute where the file lies elsewhere
    label: Label  # the class as the files call it; of an unlabeled image its truth, which may be UNKNOWN or OUT
    line: int = 0  # of the list that names it; 0: none does


class Part(NamedTuple):
    """Images of one set that belong together; a set may have several parts."""

    set: str  # one of SETS
    items: list[Item]
    source: Path  # the list or the folder that they are from


class Listing(NamedTuple):
    """All images of a data set."""

    root: Path
    parts: list[Part]  # in the order of SETS
    classes: tuple[str, ...] = ()  # every class there is, where the files say so; else those of the labeled images
    names: Mapping[str, str] = {}  # class -> what people call it, where that is something else
    watched: tuple[Path, ...] = ()  # folders and lists: while they are as they were, so is the listing
    notes: tuple[str, ...] = ()  # sentences worth saying
    published: bool = False  # whether these are the lists that the data's makers published


def wrong(source: Path, line: int, what: str) -> UserError:
    """The error that names a file, the line in it (0: none), and what is the matter."""
    place = f"{source}, line {line}," if line else str(source)
    return UserError(f"{place} is not possible: {what}.")


def maybe(name: str, classes: Collection[str]) -> str:
    """What stands in brackets after the name of no class: the class that may be meant; empty where there is none."""
    known = {one.lower(): one for one in classes}
    near = [] if name.isdecimal() else get_close_matches(name.lower(), known, 1)  # a number is like no other
    return f" (did you mean {known[near[0]]}?)" if near else ""


def enumerate_some(names: list[str], most: int = 10) -> str:
    """Names in a sentence; of many, the first and the number of the others."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} others" if rest > 0 else "")
