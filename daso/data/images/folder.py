"""A data set as folders: `train/<class>/`, `unlabeled/`, `valid/<class>/`, `test/<class>/`."""

import hashlib
import os
from pathlib import Path

from daso.data.images.listing import (
    ALIASES,
    OUT,
    SETS,
    UNKNOWN,
    Item,
    Label,
    Listing,
    Part,
    enumerate_some,
    maybe,
    wrong,
)
from daso.data.images.tree import ENDINGS, Walk
from daso.errors import UserError

NO_CLASS: dict[str, Label] = {"out": OUT, "unknown": UNKNOWN}  # folders in unlabeled/ beside those of classes
NO_IMAGE = f"it holds no image ({', '.join(ENDINGS)}), so fill it or remove it"


def read(root: Path) -> Listing:
    """Find all images of a folder, class by class as its folders are called.

    `train` may be called `labeled`, and `valid` `validation` or `val`. The unlabeled images may lie anywhere below
    `unlabeled`; where each folder in it is called like a class, `out` or `unknown`, it tells the truth of its images.
    Hidden files and other endings are left out and counted, links are followed.

    Raises:
        UserError: there is no such folder, none of labeled images, a class without images, a class that the labeled
            images do not have, or a set under two names.
    """
    if not root.is_dir():
        raise UserError(
            f"dataset.root={root} is not possible: there is no such folder; name the one with train/ in it."
        )
    walk = Walk(root)
    present, loose = walk.entries(root)
    named = {name: _one_of(root, present, name) for name in SETS}
    if named["labeled"] is None:
        right = "it has no folder train (or labeled) with a folder of images for each class"
        raise UserError(f"dataset.root={root} is not possible: {right}.")
    parts, notes = [], []
    if loose:
        notes.append(f"{len(loose)} images in {root} itself belong to no set and are left out.")
    classes: list[str] = []
    for name, folder in named.items():
        if folder is None:
            continue
        if name == "unlabeled":
            items, notes_of = _unlabeled(walk, folder, classes)
        else:
            items, notes_of = _classes(walk, folder, classes)
        classes = classes or sorted({str(item.label) for item in items})
        notes += notes_of
        parts.append(Part(name, items, folder))
    return Listing(root, parts, watched=tuple(walk.folders), notes=(*notes, *walk.notes()))


def _one_of(root: Path, present: list[str], name: str) -> Path | None:
    found = [one for one in (name, *ALIASES.get(name, ())) if one in present]
    if len(found) > 1:
        right = f"{' and '.join(found)} are names of one set, so one of them"
        raise UserError(f"dataset.root={root} is not possible: {right}.")
    return root / found[0] if found else None


def _classes(walk: Walk, folder: Path, known: list[str]) -> tuple[list[Item], list[str]]:
    """The images of a set with a folder for each class; the classes may be any where none is `known` yet."""
    names, loose = walk.entries(folder)
    if not names:
        raise wrong(folder, 0, "it holds no folder, and wants one of images for each class")
    items: list[Item] = []
    for name in names:
        if known and name not in known:
            right = f"there are no labeled images of class {name}{maybe(name, known)}, only of {enumerate_some(known)}"
            raise wrong(folder / name, 0, right)
        paths = walk.images(folder / name)
        if not paths:
            raise wrong(folder / name, 0, NO_IMAGE)
        items += [Item(path, name) for path in paths]
    return items, [f"{len(loose)} images in {folder} itself belong to no class and are left out."] if loose else []


def _unlabeled(walk: Walk, folder: Path, classes: list[str]) -> tuple[list[Item], list[str]]:
    """The unlabeled images, with their truth where the folders' names tell it, in an order that does not."""
    names, loose = walk.entries(folder)
    truths: dict[str, Label] = {**NO_CLASS, **{name: name for name in classes}}
    strange = [name for name in names if name not in truths]
    here = folder.relative_to(walk.root).as_posix()
    items = [Item(f"{here}/{name}", UNKNOWN) for name in loose]
    for name in names:
        truth = UNKNOWN if strange else truths[name]
        items += [Item(path, truth) for path in walk.images(folder / name)]
    if not items:
        raise wrong(folder, 0, NO_IMAGE)
    items.sort(key=lambda item: hashlib.blake2b(os.fsencode(item.path)).digest())
    if not strange or len(strange) == len(names):
        return items, []
    right = f"{enumerate_some(strange)} would have to be a class, out or unknown"
    return items, [f"The folders in {folder} are not taken for the truth of its images: {right}."]
