"""The files of the data sets, read without trust: whoever made one, what it is not is said in a sentence that names it.

Shape legend: N images of a file.
"""

import gzip
import math
import pickle
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from daso.data.sources.arrays import Images, Labels
from daso.data.sources.files import opened
from daso.errors import UserError

CIFAR_SIDE, STL_SIDE = 32, 96  # pixels
ARRAY_PARTS = {  # all that the pickle of an array is made of, by any version of NumPy and Python
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("_codecs", "encode"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


class _Arrays(pickle.Unpickler):
    """An unpickler that makes arrays, lists and texts and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The one place where a pickle names something to call."""
        if (module, name) not in ARRAY_PARTS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and no image needs that")
        return super().find_class(module, name)


def cifar_batch(path: Path, label_key: str, classes: int) -> tuple[Images, Labels]:
    """Images [N,3,32,32] and labels [N] of a batch of CIFAR: a pickled dict of `data` [N,3072] and labels.

    Raises:
        UserError: it is something else.
    """
    try:
        with path.open("rb") as file:
            batch = _Arrays(file, encoding="latin1").load()
    except OSError:
        raise
    except Exception as error:  # a pickle is a program: it can end in anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path} is no batch of CIFAR: it cannot be unpickled ({reason}).") from error
    _require(isinstance(batch, Mapping), path, "it holds no dict")
    parts = {key.decode(errors="replace") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    for key in ("data", label_key):
        _require(key in parts, path, f"its dict has no {key}")
    images = _array(parts["data"], path, "data")
    pixels = 3 * CIFAR_SIDE**2
    right = images.dtype == np.uint8 and images.shape[1:] in ((pixels,), (3, CIFAR_SIDE, CIFAR_SIDE))
    held = f"{images.dtype} of shape {list(images.shape)}"
    _require(right, path, f"its data are {held}, and would be uint8 of shape [N, {pixels}]")
    labels = _labels(_array(parts[label_key], path, label_key), len(images), classes, path)
    return images.reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE), labels


def stl_images(path: Path) -> Images:
    """Images [N,3,96,96], views of a mapped file of STL-10, which holds every channel column by column."""
    size, side = path.stat().st_size, STL_SIDE
    _require(size > 0 and size % (3 * side**2) == 0, path, f"{size} bytes are no whole images of {side} pixels a side")
    columns_first = np.memmap(path, np.uint8, mode="c").reshape(-1, 3, side, side)
    rows_first: Images = columns_first.transpose(0, 1, 3, 2)
    return rows_first


def stl_labels(path: Path, images: Images, classes: int) -> Labels:
    """Labels [N] of `images`, stored from 1 on."""
    return _labels(np.fromfile(path, np.uint8).astype(np.int64) - 1, len(images), classes, path, first=1)


def idx(path: Path, dims: int) -> Images:
    """The values of an idx file, packed or not: two zeros, type 8 (uint8), dimensions; sizes, big-endian; values."""
    try:
        with opened(path) as file:
            content = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged: it cannot be unpacked ({error}).") from error
    head = 4 + 4 * dims
    begins = content[:4] == bytes([0, 0, 8, dims]) and len(content) >= head
    _require(begins, path, f"it is no idx file of uint8 in {dims} dimensions")
    shape = np.frombuffer(content[4:head], ">i4").tolist()
    fits = min(shape) >= 0 and len(content) == head + math.prod(shape)
    _require(fits, path, f"its {len(content)} bytes are not of the shape {shape} that it names")
    values: Images = np.frombuffer(content, np.uint8, offset=head).reshape(shape)
    return values


def idx_labels(path: Path, images: Images, classes: int) -> Labels:
    """Labels [N] of `images` from an idx file."""
    return _labels(idx(path, 1), len(images), classes, path)


def _array(value: Any, path: Path, key: str) -> "np.ndarray[Any, Any]":
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be used: its {key} are no array ({error}).") from error


def _labels(labels: "np.ndarray[Any, Any]", images: int, classes: int, path: Path, first: int = 0) -> Labels:
    whole = labels.ndim == 1 and (np.issubdtype(labels.dtype, np.integer) or not len(labels))
    _require(
        whole, path, f"its labels are {labels.dtype} of shape {list(labels.shape)}, and would be whole numbers [N]"
    )
    _require(len(labels) == images, path, f"it has {len(labels)} labels for {images} images")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    for place in wrong[:1]:
        right = f"{first} to {classes - 1 + first}"
        _require(False, path, f"the label of image {place} is {labels[place] + first}, and would be {right}")
    return labels.astype(np.int64)


def _require(ok: Any, path: Path, wrong: str) -> None:
    if not ok:
        raise UserError(f"{path} cannot be used: {wrong}.")
