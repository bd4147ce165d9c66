"""Which images a run trains on: the long-tailed labeled and unlabeled sets and the validation set, as row numbers.

Legend: C classes, n1 / m1 labeled / unlabeled images of the largest class, gamma imbalance (largest / smallest class).
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from daso.data.sizes import check_sizes, class_counts, unlabeled_counts
from daso.errors import AFRESH, Damaged
from daso.outputs.files import damage_of, read_file, replace_file
from daso.schema import DatasetConfig, ImbalanceConfig

Rows = npt.NDArray[np.int64]


class Split(NamedTuple):
    """Row numbers in stored order (class by class; the order of training comes from the index streams)."""

    labeled: Rows  # of train_x
    unlabeled: Rows  # of train_x, or of unlabeled_x where the data set brings its own unlabeled images; may be empty
    valid: Rows  # of train_x; may be empty


def make_split(
    train_y: npt.NDArray[np.int64],
    dataset: DatasetConfig,
    imb: ImbalanceConfig,
    seed: int,
    with_unlabeled: bool,
    n_extra: int,
) -> Split:
    """Draw validation, labeled and unlabeled sets, index for index as the paper's code does.

    Every step restarts the same random stream, the labeled images are not part of the unlabeled set, surplus images
    are dropped, and the validation images leave the pool first. Other shapes of the unlabeled set than the paper's are
    thinned in the same way, class by class from the head. Where the data set brings its own unlabeled images, all of
    them are used; there `n1` holds for uniform labels (`gamma_l` = 1) too, which the paper's code ignores.

    Args:
        train_y: [N] labels of the training images.
        seed: the run's seed.
        with_unlabeled: False leaves `unlabeled` empty; the labeled set is the same either way.
        n_extra: images of the data set's own unlabeled set, 0 if it has none.

    Raises:
        UserError: as `check_sizes`, with the class sizes of `train_y`.
    """
    classes = dataset.num_classes
    smallest = int(np.bincount(train_y, minlength=classes).min())
    check_sizes(dataset, imb, smallest)
    rows: Rows = np.arange(len(train_y), dtype=np.int64)
    valid = unlabeled = rows[:0]
    head_first = range(classes)

    if dataset.num_valid:
        valid, rows = deal(rows, train_y, head_first, [[dataset.num_valid // classes] * classes], seed)
    if dataset.unknown_unlabeled:
        labeled = rows
        unlabeled = np.arange(n_extra if with_unlabeled else 0, dtype=np.int64)
    else:
        piles = [[imb.n1] * classes, [imb.m1 if with_unlabeled else 0] * classes]
        labeled, unlabeled, _ = deal(rows, train_y, head_first, piles, seed)

    if imb.gamma_l > 1 or len(labeled) > imb.n1 * classes:
        labeled, _ = deal(labeled, train_y, head_first, [class_counts(imb.n1, imb.gamma_l, classes)], seed)
    if with_unlabeled and not dataset.unknown_unlabeled and (imb.gamma_u != 1 or imb.unlabeled_counts):
        largest_first = head_first if imb.gamma_u >= 1 else reversed(head_first)
        unlabeled, _ = deal(unlabeled, train_y, largest_first, [unlabeled_counts(imb, classes, seed)], seed)
    return Split(labeled, unlabeled, valid)


def hold_out(split: Split, labels: npt.NDArray[np.int64], classes: int, per_class: int) -> Split:
    """`split` with a validation set of `per_class` images of each class, from which nothing else is learned.

    Where every class has more labeled images than that, they are the first labeled ones of each class; else the first
    of the validation set; and of the labeled ones again, at most half a class, where there is no validation set.

    Args:
        labels: [N] of the training images.
        classes: C.
        per_class: how many; a class of the validation set may have fewer.
    """
    sizes = np.bincount(labels[split.labeled], minlength=classes).tolist()
    enough = min(sizes) > per_class
    if not enough and len(split.valid):
        return split._replace(valid=first_of_each(split.valid, labels, [per_class] * classes)[0])
    assert min(sizes) > 1, "of a single image none can be held out"
    counts = [per_class if enough else min(per_class, n // 2) for n in sizes]
    valid, labeled = first_of_each(split.labeled, labels, counts)
    return split._replace(labeled=labeled, valid=valid)


def first_of_each(rows: Rows, labels: npt.NDArray[np.int64], counts: Sequence[int]) -> tuple[Rows, Rows]:
    """The first `counts[k]` of the `rows` of each class k, class by class, and all others in their order."""
    taken: Rows = np.concatenate([rows[labels[rows] == k][:n] for k, n in enumerate(counts)])
    return taken, rows[~np.isin(rows, taken)]


def checksum(split: Split) -> str:
    """16 hex digits over names, lengths and row numbers: two runs with the same one trained on the same images."""
    digest = hashlib.blake2b(digest_size=8)
    for name, rows in split._asdict().items():
        digest.update(f"{name}:{len(rows)}:".encode())
        digest.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())
    return digest.hexdigest()


def save(split: Split, path: str | Path) -> None:
    """Write the row numbers and their checksum as .npz; a reader sees the whole file or none."""
    content = io.BytesIO()
    np.savez_compressed(content, checksum=np.array(checksum(split)), **split._asdict())
    replace_file(Path(path), content.getvalue())


def load(path: str | Path) -> Split:
    """Read back what `save` wrote.

    Raises:
        Damaged: it is no such file, or does not fit its checksum.
        UserError: the operating system does not let it be read.
    """
    content = io.BytesIO(read_file(Path(path)))
    try:
        if (part := damage_of(content)) is not None:
            raise ValueError(part)
        with np.load(content, allow_pickle=False) as stored:
            split = Split(*(stored[name] for name in Split._fields))
            intact = checksum(split) == str(stored["checksum"])
    except MemoryError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise Damaged(f"{path} is unreadable ({type(error).__name__})", AFRESH) from error
    if not intact:
        raise Damaged(f"{path} is damaged: its row numbers do not fit their checksum", AFRESH)
    return split


def deal(
    rows: Rows, labels: npt.NDArray[np.int64], order: Iterable[int], piles: Sequence[Sequence[int]], seed: int
) -> list[Rows]:
    """Shuffle the rows of each class in `order` and deal `piles[p][class]` of them to pile p; the rest come last."""
    stream = np.random.RandomState(seed)
    dealt: list[list[Rows]] = [[] for _ in range(len(piles) + 1)]
    for k in order:
        of_class = np.flatnonzero(labels[rows] == k)
        stream.shuffle(of_class)
        parts = np.split(rows[of_class], np.cumsum([pile[k] for pile in piles]))
        for pile, part in zip(dealt, parts):
            pile.append(part)
    return [np.concatenate(parts) for parts in dealt]
