"""Data sets: files on disk (downloaded on first use) to uint8 arrays.

A reader registers in `READERS` under the name that `dataset.name` gives.
"""

from collections.abc import Callable
from pathlib import Path

from daso.data.sources import readers
from daso.data.sources.arrays import Arrays
from daso.errors import UserError
from daso.schema import DatasetConfig, require

__all__ = ["Arrays", "load"]

READERS: dict[str, Callable[[Path], Arrays]] = {
    "cifar10": readers.cifar10,
    "cifar100": readers.cifar100,
    "stl10": readers.stl10,
    "fashion_mnist": readers.fashion_mnist,
    "digits": readers.digits,
}


def load(cfg: DatasetConfig) -> Arrays:
    """Read `cfg.name` from `cfg.root`, downloading it on first use. No data set depends on a run's seed.

    Raises:
        UserError: unknown name, files that are missing and cannot be downloaded, damaged or unreadable files, or
            images that are not what the configuration says.
    """
    require(cfg.name in READERS, "dataset.name", cfg.name, f"known data sets are {', '.join(READERS)}")
    try:
        arrays = READERS[cfg.name](Path(cfg.root).expanduser())
    except OSError as error:
        raise UserError(f"dataset.root={cfg.root}: the files of {cfg.name} cannot be read ({error}).") from error
    _, channels, size, _ = arrays.train_x.shape
    classes = int(arrays.train_y.max()) + 1
    own = arrays.unlabeled_x is not None
    facts = {"num_classes": classes, "channels": channels, "source_size": size, "unknown_unlabeled": own}
    for key, fact in facts.items():
        value = getattr(cfg, key)
        require(value == fact, f"dataset.{key}", value, f"{cfg.name} has {fact}")
    return arrays
