"""Splits as index files: one row number a line, as `python -m daso.splits` writes them and any other code can.

labeled.txt, and where there are such images unlabeled.txt and valid.txt, hold rows from 0 of the training images in the
order in which the data set stores them (unlabeled.txt: of its own unlabeled images, where it has them). A manifest.json
beside them may hold the data set's name and SHA-256 checksums, which are then compared.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from daso.data import row_files
from daso.data.row_files import RowFile
from daso.data.sizes import class_counts, unlabeled_counts
from daso.data.split import Split
from daso.errors import UserError
from daso.outputs.files import read_json
from daso.outputs.naming import counts_name
from daso.schema import LONG_TAILED, UNKNOWN, Config, require

MANIFEST = "manifest.json"
PARTS = Split._fields
SHOWN = 40  # characters of a wrong value that a sentence has room for


def setting_name(config: Config) -> str:
    """A setting as a folder's name, such as `cifar10_n500_m4000_gl100_gu0.01_v500`."""
    imb, held_out = config.imb, config.dataset.num_valid
    unlabeled = f"gu{imb.gamma_u if isinstance(imb.gamma_u, str) else f'{imb.gamma_u:g}'}"
    if imb.unlabeled_counts:
        unlabeled = counts_name(imb.unlabeled_counts)
    elif imb.unlabeled_shape != LONG_TAILED:
        unlabeled += f"_{imb.unlabeled_shape}"
    valid = f"_v{held_out}" if held_out else ""
    return f"{config.dataset.name}_n{imb.n1}_m{imb.m1}_gl{imb.gamma_l:g}_{unlabeled}{valid}"


def folder_of(config: Config) -> Path:
    """Where `dataset.splits` holds the index files of this setting and seed: in the folder itself, in one called
    seed0, seed1, ... in it, or in such a one below the setting's name.

    Raises:
        UserError: they are in none of these places.
    """
    root, seed = Path(config.dataset.splits).expanduser(), f"seed{config.seed}"
    places = [root / setting_name(config) / seed, root / seed, root]
    found = next((place for place in places if (place / "labeled.txt").is_file()), None)
    right = f"there is no labeled.txt in it, in {seed} or in {setting_name(config)}/{seed}"
    require(found is not None, "dataset.splits", config.dataset.splits, right)
    assert found is not None
    return found


class Imported(NamedTuple):
    """The index files of a folder."""

    folder: Path
    files: dict[str, RowFile]  # by part: labeled, unlabeled, valid

    @property
    def split(self) -> Split:
        """The rows alone."""
        return Split(*(self.files[name].rows for name in PARTS))

    def line(self, name: str, row: int) -> str:
        """Where a row stands, as `line 3 of labeled.txt`."""
        return f"line {self.files[name].line_of(row)} of {name}.txt"


def read(folder: Path) -> Imported:
    """Read index files.

    Raises:
        UserError: a file does not fit its checksum, or is no list of different row numbers; the manifest is none.
    """
    for name, expected in (said(folder, "sha256") or {}).items():
        if not (folder / name).is_file() or sha256(folder / name) != expected.lower():
            raise UserError(f"{folder / name} is missing or damaged: it does not fit the checksum in {MANIFEST}.")
    return Imported(folder, {name: row_files.read(folder / f"{name}.txt") for name in PARTS})


def imported(config: Config) -> Imported:
    """The split that `dataset.splits` holds for a configuration.

    Raises:
        UserError: as `folder_of` and `read`; the files belong to another data set or hold no unlabeled images for a
            learner of these, `dataset.num_valid` is not the number of their validation images, or one is trained on.
    """
    dataset = config.dataset
    found = read(folder_of(config))
    split = found.split
    theirs = said(found.folder, "dataset") or dataset.name
    same = _bare(theirs) == _bare(dataset.name)
    require(same, "dataset.splits", dataset.splits, f"its rows are those of dataset={theirs}")
    held = len(split.valid)
    right = f"the validation set is the {held} rows of valid.txt in {found.folder}, so {held}"
    require(dataset.num_valid == held, "dataset.num_valid", dataset.num_valid, right)
    right = f"algorithm={config.algorithm.name} needs unlabeled images, and unlabeled.txt holds none"
    require(len(split.unlabeled) > 0 or not config.reads_unlabeled, "dataset.splits", dataset.splits, right)
    for name in ("labeled",) if dataset.unknown_unlabeled else ("labeled", "unlabeled"):
        for row in np.intersect1d(getattr(split, name), split.valid)[:1]:
            right = f"row {row} stands in {name}.txt and in valid.txt of {found.folder}"
            right += f" ({found.line(name, row)}, {found.line('valid', row)})"
            require(False, "dataset.splits", dataset.splits, right)
    return found


def fitting(theirs: Imported, config: Config, train_y: npt.NDArray[np.int64], n_extra: int) -> Split:
    """The part of an imported split that a run trains on.

    Args:
        theirs: from `imported`.
        train_y: [N] labels of the training images.
        n_extra: images of the data set's own unlabeled set, 0 if it has none or they are not read.

    Raises:
        UserError: a row that the data set does not have, a second column that is not its labels, or a class without
            labeled images.
    """
    dataset = config.dataset
    for name, file in theirs.files.items():
        own = name == "unlabeled" and dataset.unknown_unlabeled
        if own and not config.reads_unlabeled:
            continue
        size = n_extra if own else len(train_y)
        for row in file.rows[file.rows >= size][:1]:
            right = f"{theirs.line(name, row)} holds row {row}, and {dataset.name} ends with row {size - 1}"
            require(False, "dataset.splits", dataset.splits, right)
        _refuse_other_labels(theirs, name, config, None if own else train_y)
    split = theirs.split
    counts = np.bincount(train_y[split.labeled], minlength=dataset.num_classes)
    right = f"labeled.txt holds no image of class {counts.argmin()}"
    require(counts.min() > 0, "dataset.splits", dataset.splits, right)
    return split if config.reads_unlabeled else split._replace(unlabeled=split.unlabeled[:0])


def remarks(config: Config, split: Split, counts: Sequence[int], unlabeled: Sequence[int] = ()) -> list[str]:
    """What is worth saying about the images of a run on imported splits.

    Args:
        config: the run's.
        split: what it trains on.
        counts: labeled images of each class [C].
        unlabeled: unlabeled images of each class [C]; nothing where there are none, or nobody knows.
    """
    if not config.dataset.splits:
        return []
    imb, classes = config.imb, config.dataset.num_classes
    sizes = f"imb.n1={imb.n1} imb.gamma_l={imb.gamma_l:g}"
    found = _other_sizes("labeled", counts, class_counts(imb.n1, imb.gamma_l, classes), sizes)
    if len(unlabeled) and imb.m1 != UNKNOWN and imb.gamma_u != UNKNOWN:
        sizes = f"imb.m1={imb.m1} imb.gamma_u={imb.gamma_u:g}"
        found += _other_sizes("unlabeled", unlabeled, unlabeled_counts(imb, classes, config.seed), sizes)
    common = 0 if config.dataset.unknown_unlabeled else len(np.intersect1d(split.labeled, split.unlabeled))
    if common:
        found.append(f"{common} labeled images of dataset.splits are unlabeled ones as well.")
    return found


def _other_sizes(name: str, counts: Sequence[int], described: Sequence[int], by: str) -> list[str]:
    """A sentence about a set whose classes have other sizes than a run is named and reported by."""
    if list(counts) == list(described):
        return []
    are, not_are = (", ".join(map(str, some)) for some in (counts, described))
    sizes = f"{are} per class, not the {not_are} of {by}"
    return [f"The {name} images of dataset.splits are {sizes}, by which this run is named and reported."]


def sha256(path: Path) -> str:
    """The SHA-256 checksum of a file, in hex digits.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error


def said(folder: Path, key: str) -> Any:
    """What `manifest.json` says under a key that is read of it; None where it says nothing.

    Raises:
        UserError: it is no JSON object, or holds something of another kind there.
    """
    path = folder / MANIFEST
    found = read_json(path)
    if found is None and path.exists():
        raise UserError(f"{path} is damaged: it holds no JSON object; delete it to use its folder without checksums.")
    value = (found or {}).get(key)
    if isinstance(value, dict):
        value = {name: item for name, item in value.items() if item is not None}
    fits, right = KINDS[key]
    if value is not None and not fits(value):
        shown = json.dumps(value, ensure_ascii=False)
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
        raise UserError(f"{path} is not possible: {key} is {shown}, and would be {right}.")
    return value


def _refuse_other_labels(theirs: Imported, name: str, config: Config, train_y: npt.NDArray[np.int64] | None) -> None:
    """Refuse a second column that is not the labels of the images, `train_y` [N]; None: nobody knows them."""
    file, dataset = theirs.files[name], config.dataset
    if file.labels is None or (name == "unlabeled" and (file.labels == row_files.UNKNOWN_LABEL).all()):
        return
    truth = np.full(len(file.rows), row_files.UNKNOWN_LABEL) if train_y is None else train_y[file.rows]
    wrong = np.flatnonzero(file.labels != truth)
    if len(wrong):
        row, label = file.rows[wrong[0]], file.labels[wrong[0]]
        known = "the class of which nobody knows" if train_y is None else f"which is of class {truth[wrong[0]]}"
        right = f"{theirs.line(name, row)} says class {label} of row {row} of {dataset.name}, {known}"
        require(False, "dataset.splits", dataset.splits, f"{right}; a second column can hold true labels alone")


def _are_checksums(value: Any) -> bool:
    return isinstance(value, dict) and all(
        Path(name).name == name and isinstance(digits, str) and re.fullmatch("[0-9a-fA-F]{64}", digits)
        for name, digits in value.items()
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {  # what a manifest holds, as far as it is read
    "dataset": (lambda value: isinstance(value, str), "the name of a data set"),
    "sha256": (_are_checksums, "an object of file names and their checksums, 64 hex digits each"),
    "seed": (lambda value: type(value) is int and value >= 0, "a whole number"),
    "overrides": (_are_texts, "a list of texts"),
}


def _bare(name: str) -> str:
    """A data set's name as all programs spell it: `CIFAR10` and `cifar-10` are one."""
    return "".join(filter(str.isalnum, name)).lower()
