"""The index of a data set of image files: which images there are, in which order, and what they show.

Legend: N images, C classes, M unlabeled images.
"""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from daso.data.images.listing import OUT, SETS, UNKNOWN, Item, Label, Listing, Part, enumerate_some, wrong
from daso.errors import UserError

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Index:
    """Images by row number, set by set in the order of `SETS`, within a set as its reader has them.

    Class 0 has most labeled images: what reads class counts relies on it.
    """

    root: Path
    names: tuple[str, ...]  # C, what people call the classes
    original: tuple[str, ...]  # C, what the files call them
    parts: tuple[tuple[str, int], ...]  # (set, images), one after another
    paths: tuple[str, ...]  # N, relative to the root where they lie below it
    labels: Integers  # [N], UNKNOWN for every unlabeled image
    bytes: Integers  # [N] sizes of the files
    truth: Integers  # [M] class of the unlabeled images, UNKNOWN or OUT: for the meters alone
    notes: tuple[str, ...] = ()  # what is worth saying about the files
    published: bool = False  # whether these are the images that the data's makers published, by their lists

    def rows(self, name: str) -> range:
        """The rows of a set."""
        before = sum(n for part, n in self.parts if SETS.index(part) < SETS.index(name))
        return range(before, before + sum(n for part, n in self.parts if part == name))

    def labels_of(self, name: str) -> Integers:
        """[n] classes of a set's images."""
        rows = self.rows(name)
        return self.labels[rows.start : rows.stop]

    def counts(self, name: str) -> Integers:
        """[C] images of each class in a set; of the unlabeled one where the truth is known."""
        labels = self.truth if name == "unlabeled" else self.labels_of(name)
        return np.bincount(labels[labels >= 0], minlength=len(self.names))

    @cached_property
    def checksum(self) -> str:
        """16 hex digits: equal for data that train equal runs, wherever they lie. The truth plays no part."""
        digest = hashlib.blake2b(digest_size=8)
        sets = [name for name, n in self.parts for _ in range(n)]
        for name, path, label, size in zip(sets, self.paths, self.labels.tolist(), self.bytes.tolist(), strict=True):
            digest.update(f"{name}\0{label}\0{size}\0".encode() + os.fsencode(path) + b"\n")
        return digest.hexdigest()


def index_of(listing: Listing) -> Index:
    """Number the classes, look at the files, and refuse what cannot be trained on.

    Raises:
        UserError: a file that is not there, a class without labeled images, contradictory labels, a labeled image that
            is tested on, nothing to test on; it names the file and, where a list names it, the line.
    """
    notes = list(listing.notes)
    parts = _with_test_set(listing, notes)
    original = _class_order(listing)
    number = {label: k for k, label in enumerate(original)}
    _check_classes(listing.root, parts, number)
    status = _look(listing.root, parts)
    notes += _check_twice(listing.root, parts, status)
    items = [(part.set, item) for part in parts for item in part.items]
    labels = [UNKNOWN if name == "unlabeled" else number[str(item.label)] for name, item in items]
    truth = [_truth(item.label, number) for name, item in items if name == "unlabeled"]
    return Index(
        root=listing.root,
        names=tuple(listing.names.get(label, label) for label in original),
        original=original,
        parts=tuple((part.set, len(part.items)) for part in parts),
        paths=tuple(item.path for _, item in items),
        labels=np.array(labels, dtype=np.int64),
        bytes=np.array([one.st_size for one in status], dtype=np.int64),
        truth=np.array(truth, dtype=np.int64),
        notes=tuple(notes),
        published=listing.published,
    )


def _with_test_set(listing: Listing, notes: list[str]) -> list[Part]:
    """The parts, of which one is a test set: the validation set serves where there is no other."""
    for part in listing.parts:
        if not part.items:
            raise wrong(part.source, 0, "it lists no image, so fill it or remove it")
    parts = sorted(listing.parts, key=lambda part: SETS.index(part.set))
    present = {part.set for part in parts}
    if "labeled" not in present:
        raise UserError(f"dataset.root={listing.root} is not possible: there are no labeled images.")
    if "test" in present:
        return parts
    if "valid" not in present:
        right = "there is neither a test nor a validation set, and without one nothing tells how good a network is"
        raise UserError(f"dataset.root={listing.root} is not possible: {right}.")
    notes.append("There is no test set: the images of the validation set serve as one.")
    return [part._replace(set="test") if part.set == "valid" else part for part in parts]


def _class_order(listing: Listing) -> tuple[str, ...]:
    """The classes by labeled images, most first; equal ones by their number, or by name."""
    labeled = [(part, item) for part in listing.parts if part.set == "labeled" for item in part.items]
    counts = Counter(str(item.label) for _, item in labeled)
    source = labeled[0][0].source
    empty = [name for name in listing.classes if not counts[name]]
    if empty:
        raise wrong(source, 0, f"it has no labeled image of class {enumerate_some(empty)}")
    if len(counts) < 2:
        only = labeled[0][1].label
        raise wrong(source, 0, f"all its images are of class {only}, and training wants two classes or more")
    numbered = all(name.isdecimal() for name in counts)
    return tuple(sorted(counts, key=lambda name: (-counts[name], int(name) if numbered else 0, name)))


def _check_classes(root: Path, parts: list[Part], number: dict[str, int]) -> None:
    for part in parts:
        for item in part.items if part.set != "unlabeled" else ():
            if item.label not in number:
                what = f"is of class {item.label}, and there are no labeled images of it"
                raise wrong(*_place(root, part, item, what))


def _truth(label: Label, number: dict[str, int]) -> int:
    return label if isinstance(label, int) else number.get(label, OUT)


def _look(root: Path, parts: list[Part]) -> list[os.stat_result]:
    """What the file system says about each file."""
    found: list[os.stat_result] = []
    missing: list[tuple[Part, Item, str]] = []
    for part in parts:
        for item in part.items:
            try:
                found.append((root / item.path).stat())
            except (OSError, ValueError) as error:  # no name of a file may hold a zero
                missing.append((part, item, getattr(error, "strerror", None) or str(error)))
    if missing:
        part, item, reason = missing[0]
        others = f", and neither are {len(missing) - 1} others" if len(missing) > 1 else ""
        raise wrong(*_place(root, part, item, f"is not there ({reason}){others}"))
    return found


def _check_twice(root: Path, parts: list[Part], status: list[os.stat_result]) -> list[str]:
    """Refuse an image that is trained on with two labels, or trained and tested on; count others that stand twice."""
    at = [(part, item) for part in parts for item in part.items]
    seen: dict[tuple[int, int], int] = {}
    times: Counter[tuple[str, str]] = Counter()
    for row, one in enumerate(status):
        before = seen.setdefault((one.st_dev, one.st_ino), row)
        if before == row:
            continue
        (part, item), (other, earlier) = at[row], at[before]
        pair = (other.set, part.set)
        line = f" ({other.source}, line {earlier.line})" if earlier.line else ""
        if pair in (("labeled", "valid"), ("labeled", "test")):
            raise wrong(*_place(root, part, item, f"is the labeled image {earlier.path}{line} as well"))
        if part.set == other.set != "unlabeled" and item.label != earlier.label:
            right = f"is {earlier.path}{line} as well, with class {earlier.label} there and {item.label} here"
            raise wrong(*_place(root, part, item, right))
        times[pair] += 1
    return [_twice(*pair, n) for pair, n in times.items()]


def _twice(one: str, other: str, n: int) -> str:
    where = "in it twice" if one == other else f"in the {one} set as well"
    return f"{n} image{'s' * (n > 1)} of the {other} set stand{'s' * (n == 1)} {where}."


def _place(root: Path, part: Part, item: Item, what: str) -> tuple[Path, int, str]:
    """The arguments of `wrong` for one image: its line where there is one, else itself."""
    return (part.source, item.line, f"{item.path} {what}") if item.line else (root / item.path, 0, f"it {what}")
