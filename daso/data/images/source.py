"""A configured data set of image files: what is in it, which images are labeled, and where their pixels are.

Legend: N training images (labeled, then unlabeled, as the index has them), C classes.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from daso.data.images import folder, lists, semi_aves
from daso.data.images.build import Progress, ready, refuse_broken
from daso.data.images.cache import index_at
from daso.data.images.census import Census
from daso.data.images.decode import Rule
from daso.data.images.index import Index
from daso.data.images.listing import OWN, Listing, enumerate_some
from daso.data.images.store import Request, Store, check
from daso.data.sizes import class_counts
from daso.data.split import Split, deal
from daso.errors import UserError
from daso.schema import DatasetConfig, ImbalanceConfig, require

Integers = npt.NDArray[np.int64]
NAMED = 5  # classes that a sentence names
EVALUATED = 8 / 7  # short side of an evaluated image over the side of its centre, 256 / 224


def index_of_dataset(dataset: DatasetConfig) -> Index:
    """What is there; found once in a process.

    Raises:
        UserError: files that cannot be used, as the readers and `index_of` say.
    """
    return _found(dataset)[0]


def is_published(dataset: DatasetConfig) -> bool:
    """Whether the images are known without a look at them: Semi-Aves as published, here or not here yet."""
    if dataset.reader != semi_aves.NAME:
        return False
    root = Path(dataset.root).expanduser()
    return not semi_aves.is_there(root) or index_of_dataset(dataset).published


def identity_of(dataset: DatasetConfig) -> str:
    """What decides a run beside its options: the checksum of its files; empty for published ones, as their name tells.

    Raises:
        UserError: as `index_of_dataset`.
    """
    return "" if is_published(dataset) else index_of_dataset(dataset).checksum


def files_of(dataset: DatasetConfig, name: str) -> tuple[list[Path], Integers]:
    """Where the images of a set lie, in the order of the index, and their classes; `dataset` as a run resolved it.

    Raises:
        UserError: they are not there, or no longer those of that run.
    """
    index = index_of_dataset(dataset)
    if identity_of(dataset) != dataset.files_checksum:
        right = f"its files are not those that the run was made on ({dataset.files_checksum or 'as published'})"
        raise UserError(f"dataset.root={dataset.root} is not possible: {right}.")
    return [index.root / index.paths[row] for row in index.rows(name)], index.labels_of(name)


def _found(dataset: DatasetConfig) -> tuple[Index, Callable[[], None]]:
    options = (dataset.reader, dataset.lists, dataset.unlabeled)
    return _index(Path(dataset.root).expanduser(), *options, store_folder(dataset), dataset.rescan)


@lru_cache(maxsize=4)
def _index(
    root: Path, reader: str, its_lists: str, unlabeled: str, store: Path, rescan: bool
) -> tuple[Index, Callable[[], None]]:
    list_folder = Path(its_lists).expanduser() if its_lists else root
    readers: Mapping[str, Callable[[], Listing]] = {
        "folder": partial(folder.read, root),
        "csv": partial(lists.read, root, list_folder),
        "semi_aves": partial(semi_aves.read, root, unlabeled),
    }
    return index_at(store, f"{reader}/{root.absolute()}/{its_lists}/{unlabeled}", readers[reader], rescan)


def store_folder(dataset: DatasetConfig) -> Path:
    """Where decoded images of a data set are kept: `.daso` in its root, or a folder of its own in `dataset.store`."""
    root = Path(dataset.root).expanduser()
    if not dataset.store:
        return root / OWN
    place = hashlib.blake2b(str(root.absolute()).encode(errors="surrogateescape"), digest_size=3).hexdigest()
    return Path(dataset.store).expanduser() / f"{root.absolute().name}-{place}"


def labeled_counts(index: Index, dataset: DatasetConfig, imb: ImbalanceConfig) -> list[int]:
    """Labeled images of each class [C] that a run has, before broken files are left out.

    `dataset.labels_per_class` draws as many from each class, thinned by `imb.gamma_l` towards the last one;
    `dataset.label_fraction` a share of each, rounded, one at least; else all that are there.

    Raises:
        UserError: a class has fewer images.
    """
    there: list[int] = index.counts("labeled").tolist()
    if dataset.label_fraction:
        return [max(1, round(dataset.label_fraction * n)) for n in there]
    if not dataset.labels_per_class:
        return there
    wanted = class_counts(dataset.labels_per_class, imb.gamma_l, len(there))
    if any(n > has for n, has in zip(wanted, there, strict=True)):
        right = _too_few(index.names, there, wanted, imb.gamma_l)
        raise UserError(f"dataset.labels_per_class={dataset.labels_per_class} is not possible: {right}.")
    for name, n in zip(index.names, wanted, strict=True):
        right = f"class {name} would have no labeled image; choose it below {dataset.labels_per_class}"
        require(n > 0, "imb.gamma_l", f"{imb.gamma_l:g}", right)
    return wanted


def _too_few(names: Sequence[str], there: Sequence[int], wanted: Sequence[int], gamma: float) -> str:
    """Which classes have fewer images than would be drawn, and how many labels a class could be."""
    small = [f"{name} ({has})" for name, n, has in zip(names, wanted, there, strict=True) if n > has]

    def exceeds(most: int) -> bool:
        return any(n > has for n, has in zip(class_counts(most, gamma, len(there)), there, strict=True))

    most = bisect_left(range(1, max(there) + 1), True, key=exceeds)
    classes = f"class{'es' * (len(small) > 1)} {enumerate_some(small, NAMED)}"
    right = f"the most that is possible is {most}"
    if 0 in class_counts(most, gamma, len(there)):
        right = f"with imb.gamma_l={gamma:g} no number is possible"
    return f"{classes} ha{'ve' if len(small) > 1 else 's'} too few images; {right}"


def split_of(
    index: Index,
    dataset: DatasetConfig,
    imb: ImbalanceConfig,
    seed: int,
    with_unlabeled: bool,
    without: Integers | None = None,
) -> Split:
    """Which of the N training images are labeled, and which unlabeled.

    Where labels are drawn, each class is shuffled by the run's seed as in `make_split`; what is left of the labeled set
    is unlabeled, before the files' own unlabeled images.

    Args:
        seed: the run's seed.
        with_unlabeled: False leaves `unlabeled` empty; the labeled set is the same either way.
        without: rows of images that cannot be used.

    Raises:
        UserError: a class is left without labeled images.
    """
    labels = index.labels_of("labeled")
    labeled = rest = np.arange(len(labels), dtype=np.int64)
    own = np.arange(len(labels), len(labels) + len(index.rows("unlabeled")), dtype=np.int64)
    if without is not None:
        labeled, own = (rows[~np.isin(rows, without)] for rows in (labeled, own))
    rest = labeled[:0]
    if dataset.labels_per_class or dataset.label_fraction:
        counts = labeled_counts(index, dataset, imb)
        labeled, rest = deal(labeled, labels, range(len(counts)), [counts], seed)
    found = np.bincount(labels[labeled], minlength=len(index.names))
    empty = [index.names[k] for k in np.flatnonzero(found == 0)]
    if empty:
        right = f"no labeled image of class {empty[0]} can be used"
        raise UserError(f"dataset.root={dataset.root} is not possible: {right}.")
    mixed = np.random.RandomState(seed).permutation(rest)  # a row number is to tell nothing about a class
    unlabeled = np.concatenate([mixed, own]) if with_unlabeled else own[:0]
    return Split(labeled, unlabeled, own[:0])


class Held(NamedTuple):
    """Decoded images of one size that are evaluated on."""

    x: npt.NDArray[np.uint8]  # [n,3,S,S], mapped
    y: Integers  # [n]


@dataclass(frozen=True)
class Gallery:
    """A data set of image files with its pixels stored."""

    index: Index
    stores: list[Store]  # of the training images, one after another
    train_y: Integers  # [N] labels, of unlabeled images their truth: UNKNOWN, or OUT, where there is none
    valid: Held | None
    test: Held
    broken: Integers  # rows of training images that are left out
    notes: list[str]


def rules(dataset: DatasetConfig) -> tuple[Rule, Rule]:
    """What is kept of a training image, and of one that is evaluated on."""
    side = dataset.resolution
    evaluated = Rule("centre", round(side * EVALUATED), side)
    if dataset.resized_crop:
        return Rule("fit", dataset.store_side), evaluated
    size = dataset.source_size
    return Rule("centre", size, size), Rule("centre", size, size)


def requests(index: Index, dataset: DatasetConfig) -> list[tuple[str, Request]]:
    """The stores that a run needs, by what they hold.

    Training images of a resized crop have one for each part, so that U_in of Semi-Aves serves with and without U_out;
    small ones have one for all, which a run maps as one array.
    """
    train, held = rules(dataset)
    parts = list(index.parts)
    if not dataset.resized_crop:
        training = sum(n for name, n in parts if name in ("labeled", "unlabeled"))
        parts = [("training", training), *(part for part in parts if part[0] in ("valid", "test"))]
    found, start = [], 0
    for name, n in parts:
        rule = held if name in ("valid", "test") else train
        span = slice(start, start + n)
        found.append((name, Request(index.root, index.paths[span], index.bytes[span].tolist(), rule)))
        start += n
    return found


def gallery(dataset: DatasetConfig, seed: int, threads: int, progress: Callable[[str], Progress]) -> Gallery:
    """Everything that is there, with its pixels: stored by an earlier run, or now.

    Args:
        dataset: the resolved data set.
        seed: of the images whose checksums are looked at.
        threads: how many decode at once.
        progress: name of a set -> who is told how far its store is.

    Raises:
        UserError: broken files, unless they may be left out; a store that cannot be written, or is damaged.
    """
    index, keep = _found(dataset)
    keep()
    stores: dict[str, list[Store]] = {}
    built: list[tuple[Store, Request]] = []
    notes: list[str] = []
    drawn = dataset.labels_per_class > 0 or dataset.label_fraction > 0
    for name, request in requests(index, dataset):
        kept = "training" if name == "labeled" and drawn else name  # of which a run has the labels of some
        of = f"{kept} images of {index.root.absolute().name}"
        store = ready(store_folder(dataset), request, of, threads, progress(kept))
        check(store, request, seed)
        built.append((store, request))
        if store.broken:
            some = f"{len(store.broken)} broken file{'s' * (len(store.broken) != 1)} of the {name} images"
            notes.append(f"{some} left out (dataset.broken=skip).")
        if store.transparent:
            some = f"{store.transparent} {name} image{'s' * (store.transparent != 1)}"
            notes.append(f"{some} transparent in parts, shown on white.")
        stores.setdefault(name, []).append(store)
    if dataset.broken == "refuse":
        refuse_broken(built)
    held = {name: _held(index, name, found[0]) for name, found in stores.items() if name in ("valid", "test")}
    training = [store for name, found in stores.items() if name not in held for store in found]
    truth = np.concatenate([index.labels_of("labeled"), index.truth])
    before = np.cumsum([0, *(len(store.size) for store in training)])
    broken = [int(start) + row for start, store in zip(before, training) for row in store.broken]
    return Gallery(index, training, truth, held.get("valid"), held["test"], np.array(broken, dtype=np.int64), notes)


def _held(index: Index, name: str, store: Store) -> Held:
    x, y = squares(store), index.labels_of(name)
    if not store.broken:
        return Held(x, y)
    usable = [k for k in range(len(y)) if k not in store.broken]
    return Held(x[usable], y[usable])


def squares(store: Store) -> npt.NDArray[np.uint8]:
    """[n,3,S,S] the images of a store whose rule gives all of them one size, mapped."""
    side = int(store.size[0, 0])
    channels_first: npt.NDArray[np.uint8] = store.map().reshape(-1, side, side, 3).transpose(0, 3, 1, 2)
    return channels_first


def census(data: Gallery, split: Split) -> Census:
    """The images of a run by class, without those that are left out."""
    valid = data.valid.y if data.valid else data.train_y[:0]
    return _counted(data.index, data.train_y, valid, data.test.y, split)


def census_ahead(dataset: DatasetConfig, imb: ImbalanceConfig, seed: int, with_unlabeled: bool) -> Census:
    """As `census`, before an image is opened: broken ones count.

    Raises:
        UserError: as `index_of_dataset` and `split_of`.
    """
    index = index_of_dataset(dataset)
    train_y = np.concatenate([index.labels_of("labeled"), index.truth])
    split = split_of(index, dataset, imb, seed, with_unlabeled)
    return _counted(index, train_y, index.labels_of("valid"), index.labels_of("test"), split)


def sentences(index: Index, counted: Census, headed: bool = False) -> list[str]:
    """What a person should know about the images of a run that no look into their files tells, `headed`: nor its
    header.
    """
    return [*index.notes, *counted.lines(headed)]


def _counted(index: Index, train_y: Integers, valid: Integers, test: Integers, split: Split) -> Census:
    labels = {"labeled": train_y[split.labeled], "valid": valid, "test": test}
    counts = {name: np.bincount(of, minlength=len(index.names)) for name, of in labels.items()}
    return Census(index.names, index.original, truth=train_y[split.unlabeled], **counts)
