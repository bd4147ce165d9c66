"""Splits as index files: one row number a line, as `python -m daso.splits` writes them and any other code can.

labeled.txt, and where there are such images unlabeled.txt and valid.txt, hold rows from 0 of the training images in the
order in which the data set stores them (unlabeled.txt: of its own unlabeled images, where it has them). A manifest.json
beside them may hold the data set's name and SHA-256 checksums, which are then compared.
"""

import hashlib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from daso.data.sizes import class_counts
from daso.data.split import Rows, Split
from daso.errors import UserError
from daso.outputs.files import read_json
from daso.schema import Config, require

MANIFEST = "manifest.json"
PARTS = Split._fields


def setting_name(config: Config) -> str:
    """A setting as a folder's name, such as `cifar10_n500_m4000_gl100_gu0.01_v500`."""
    imb, held_out = config.imb, config.dataset.num_valid
    gamma_u = imb.gamma_u if isinstance(imb.gamma_u, str) else f"{imb.gamma_u:g}"
    valid = f"_v{held_out}" if held_out else ""
    return f"{config.dataset.name}_n{imb.n1}_m{imb.m1}_gl{imb.gamma_l:g}_gu{gamma_u}{valid}"


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


def read(folder: Path) -> Split:
    """Read index files.

    Raises:
        UserError: a file does not fit its checksum, or is no list of different row numbers; a validation image is
            trained on.
    """
    for name, expected in _manifest(folder).get("sha256", {}).items():
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            raise UserError(f"{folder / name} is missing or damaged: it does not fit the checksum in {MANIFEST}.")
    split = Split(*(_rows(folder / f"{name}.txt") for name in PARTS))
    for name, rows in split._asdict().items():
        values, times = np.unique(rows, return_counts=True)
        if (times > 1).any():
            raise UserError(f"{folder / name}.txt is not possible: row {values[times > 1][0]} stands in it twice.")
    return split


def imported(config: Config) -> Split:
    """The split that `dataset.splits` holds for a configuration.

    Raises:
        UserError: as `folder_of` and `read`; the files belong to another data set or hold no unlabeled images for a
            learner of these, or `dataset.num_valid` is not the number of their validation images.
    """
    dataset = config.dataset
    folder = folder_of(config)
    split = read(folder)
    theirs = _manifest(folder).get("dataset", dataset.name)
    require(theirs == dataset.name, "dataset.splits", dataset.splits, f"its rows are those of dataset={theirs}")
    held = len(split.valid)
    right = f"the validation set is the {held} rows of valid.txt in {folder}, so {held}"
    require(dataset.num_valid == held, "dataset.num_valid", dataset.num_valid, right)
    right = f"algorithm={config.algorithm.name} needs unlabeled images, and unlabeled.txt holds none"
    require(len(split.unlabeled) > 0 or not config.reads_unlabeled, "dataset.splits", dataset.splits, right)
    pairs = combinations(("labeled", "valid") if dataset.unknown_unlabeled else PARTS, 2)
    for one, other in pairs:
        common = np.intersect1d(getattr(split, one), getattr(split, other))
        right = f"row {common[:1].sum()} stands in {one}.txt and in {other}.txt of {folder}"
        require(not len(common) or "valid" not in (one, other), "dataset.splits", dataset.splits, right)
    return split


def fitting(split: Split, config: Config, train_y: npt.NDArray[np.int64], n_extra: int) -> Split:
    """The part of an imported split that a run trains on.

    Args:
        split: from `imported`.
        train_y: [N] labels of the training images.
        n_extra: images of the data set's own unlabeled set, 0 if it has none.

    Raises:
        UserError: a row that the data set does not have, or a class without labeled images.
    """
    value = config.dataset.splits
    for name, rows in split._asdict().items():
        size = n_extra if name == "unlabeled" and config.dataset.unknown_unlabeled else len(train_y)
        wrong = rows[rows >= size]
        right = f"{name}.txt holds row {wrong[:1].sum()}, and {config.dataset.name} ends with row {size - 1}"
        require(not len(wrong), "dataset.splits", value, right)
    counts = np.bincount(train_y[split.labeled], minlength=config.dataset.num_classes)
    require(counts.min() > 0, "dataset.splits", value, f"labeled.txt holds no image of class {counts.argmin()}")
    return split if config.reads_unlabeled else split._replace(unlabeled=split.unlabeled[:0])


def remarks(config: Config, split: Split, counts: Sequence[int]) -> list[str]:
    """What is worth saying about the images of a run on imported splits, with labeled class `counts` [C]."""
    if not config.dataset.splits:
        return []
    found = []
    imb, classes = config.imb, config.dataset.num_classes
    described = class_counts(imb.n1, imb.gamma_l, classes)
    if list(counts) != described:
        found.append(
            f"The labeled images of dataset.splits are {', '.join(map(str, counts))} per class, not the "
            f"{', '.join(map(str, described))} of imb.n1={imb.n1} imb.gamma_l={imb.gamma_l:g}, by which this run is "
            "named and reported."
        )
    common = 0 if config.dataset.unknown_unlabeled else len(np.intersect1d(split.labeled, split.unlabeled))
    if common:
        found.append(f"{common} labeled images of dataset.splits are unlabeled ones as well.")
    return found


def sha256(path: Path) -> str:
    """The SHA-256 checksum of a file, in hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    manifest = read_json(path)
    if manifest is None and path.exists():
        raise UserError(f"{path} is damaged: it holds no JSON object; delete it to use its folder without checksums.")
    return manifest or {}


def _rows(path: Path) -> Rows:
    """The row numbers in a file; none where there is no file."""
    words = path.read_text(errors="replace").split() if path.is_file() else []
    wrong = next((word for word in words if not (word.isascii() and word.isdecimal() and len(word) < 16)), None)
    if wrong is not None:
        raise UserError(f"{path} is not possible: {wrong[:20]} is no row number, one of which stands in each line.")
    return np.array(words, dtype=np.int64)
