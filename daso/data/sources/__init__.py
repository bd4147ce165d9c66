"""Data sets: files on disk (downloaded on first use) to uint8 arrays.

A data set stands in `SOURCES` and `READERS` under the name that `dataset.name` gives.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from daso.data.images.listing import ALIASES
from daso.data.sources import files, published, readers
from daso.data.sources.arrays import Arrays
from daso.data.sources.files import Source
from daso.data.sources.readers import Paths
from daso.errors import UserError
from daso.schema import DatasetConfig, require

__all__ = ["SOURCES", "Arrays", "files_checksum", "load", "obtain", "refuse_foreign", "remarks", "to_download"]

SOURCES: dict[str, Source] = {
    "cifar10": published.CIFAR10,
    "cifar100": published.CIFAR100,
    "stl10": published.STL10,
    "fashion_mnist": published.FASHION_MNIST,
}
READERS: dict[str, Callable[[Paths], Arrays]] = {
    "cifar10": readers.cifar10,
    "cifar100": readers.cifar100,
    "stl10": readers.stl10,
    "fashion_mnist": readers.fashion_mnist,
    "digits": readers.digits,
}


def load(cfg: DatasetConfig, unlabeled: bool = True) -> Arrays:
    """Read `cfg.name` from `cfg.root`, downloading it on first use. No data set depends on a run's seed.

    Args:
        unlabeled: whether the data set's own unlabeled images are needed; without, their file need not be there.

    Raises:
        UserError: unknown name, files that are missing and cannot be downloaded, damaged, unreadable or (with
            `cfg.verify`) not as published, or images that are not what the configuration says.
    """
    require(cfg.name in READERS, "dataset.name", cfg.name, f"known data sets are {', '.join(READERS)}")
    source, paths = SOURCES.get(cfg.name), obtain(cfg, unlabeled)
    with _readable(cfg):
        arrays = READERS[cfg.name](paths)
    for part, labels in (("training", arrays.train_y), ("test", arrays.test_y)):
        require(len(labels) > 0, "dataset.root", cfg.root, f"its files of {cfg.name} hold no {part} image")
    _, channels, size, _ = arrays.train_x.shape
    classes = source.classes if source else int(arrays.train_y.max()) + 1
    facts = {"num_classes": classes, "channels": channels, "source_size": size}
    facts["unknown_unlabeled"] = bool(source and source.unlabeled)
    for key, fact in facts.items():
        value = getattr(cfg, key)
        require(value == fact, f"dataset.{key}", value, f"{cfg.name} has {fact}")
    return arrays


def obtain(cfg: DatasetConfig, unlabeled: bool) -> Paths:
    """The files of a data set, downloaded on first use; none of one that comes with a package.

    Raises:
        UserError: as `load`, of files.
    """
    source, root = SOURCES.get(cfg.name), Path(cfg.root).expanduser()
    if source is None:
        return {}
    with _readable(cfg):
        names = source.names(unlabeled)
        _refuse_folders(cfg, files.lacking(source, root, cfg.name, names))
        paths = files.obtain(source, root, cfg.name, names, cfg.verify)
        same = cfg.verify or source.checksum(root, names) == cfg.files_checksum
        right = f"its files of {cfg.name} have changed since this run was named after them; start again"
        require(same, "dataset.root", cfg.root, right)
        return paths


def to_download(cfg: DatasetConfig, unlabeled: bool) -> tuple[str, int]:
    """What of the files of a run will be downloaded, and the bytes of it; looks for names only.

    Returns:
        The data set's name, or files of it, and a size; empty and 0 where nothing will.

    Raises:
        UserError: folders of images lie where it would be put.
    """
    source, root = SOURCES.get(cfg.name), Path(cfg.root).expanduser()
    if source is None:
        return "", 0
    with _readable(cfg):
        wanted = files.lacking(source, root, cfg.name, source.names(unlabeled))
        _refuse_folders(cfg, wanted)
    return (wanted, source.octets) if wanted else ("", 0)


def refuse_foreign(cfg: DatasetConfig, unlabeled: bool) -> None:
    """Refuse, before anything slow, files in `cfg.root` that are not as published; nothing is downloaded.

    Raises:
        UserError: one is not, and `cfg.verify` does not allow for that; folders of images lie in the place of all.
    """
    to_download(cfg, unlabeled)
    source, root = SOURCES.get(cfg.name), Path(cfg.root).expanduser()
    if source is not None and cfg.verify:
        with _readable(cfg):
            names = source.names(unlabeled)
            files.refuse_foreign(source, root, cfg.name, names)
            if source.has_archive(root):
                files.obtain(source, root, cfg.name, names, cfg.verify)


def _refuse_folders(cfg: DatasetConfig, wanted: str) -> None:
    """Raise a `UserError` if the whole of a data set would be downloaded into a folder of somebody's own images."""
    root = Path(cfg.root).expanduser()
    for name in ("labeled", *ALIASES["labeled"]) if wanted == cfg.name else ():
        if any(path.is_dir() for path in (root / name).glob("[!.]*")):
            raise UserError(
                f"dataset.root={cfg.root} is not possible: {cfg.name} is not in {cfg.root}, which holds "
                f"{name}/<class>/: did you mean dataset=folder?"
            )


def files_checksum(cfg: DatasetConfig, unlabeled: bool) -> str:
    """16 hex digits over the content of files that are not as published and taken all the same; else empty.

    An archive in `cfg.root` is unpacked for that; nothing is downloaded.

    Raises:
        UserError: such files are not complete, or cannot be read.
    """
    source, root = SOURCES.get(cfg.name), Path(cfg.root).expanduser()
    if source is None or cfg.verify:
        return ""
    with _readable(cfg):
        names = source.names(unlabeled)
        if source.has_archive(root) or source.foreign(root, names):
            files.obtain(source, root, cfg.name, names, cfg.verify)
        return source.checksum(root, names)


def remarks(cfg: DatasetConfig, unlabeled: bool) -> list[str]:
    """What is worth saying about the files of a run."""
    source, root = SOURCES.get(cfg.name), Path(cfg.root).expanduser()
    if source is None or not cfg.files_checksum:
        return []
    foreign = source.foreign(root, source.names(unlabeled))
    verb = "are" if len(foreign) > 1 else "is"
    return [
        f"{files.listed(list(foreign))} in dataset.root={cfg.root} {verb} not as {cfg.name} published, but taken for "
        f"dataset.verify=false: the run's key holds their checksum, {cfg.files_checksum}, and the run stands beside "
        "no published number."
    ]


@contextmanager
def _readable(cfg: DatasetConfig) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"dataset.root={cfg.root}: the files of {cfg.name} cannot be read ({error}).") from error
