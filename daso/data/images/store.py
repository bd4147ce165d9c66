"""The store: decoded images of a data set, back to back in one file, and a description that says where each lies.

`<key>.u8` holds the pixels, uint8 [height, width, 3] an image; `<key>.json`, written last, is the only sign that they
are whole. The key names what is in them: another rule, or other files, make another store.
Legend: N images.
"""

import errno
import hashlib
import os
import shutil
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from daso.data.images.decode import ARITHMETIC, Rule
from daso.errors import UserError
from daso.outputs.files import read_json

FORMAT = 1
CHANNELS = 3
LOOKED_AT = 64  # images whose pixels are compared with their checksum at every start
PIXELS, DESCRIPTION, UNFINISHED, LOCK, BROKEN = ".u8", ".json", ".part", ".lock", ".broken.csv"

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Request:
    """Which images a store is to hold."""

    root: Path
    paths: Sequence[str]  # N, relative to the root where they lie below it
    bytes: Sequence[int]  # N sizes of the files
    rule: Rule

    @cached_property
    def key(self) -> str:
        """12 hex digits: equal for equal contents."""
        digest = hashlib.blake2b(f"{FORMAT}/{ARITHMETIC}/{'/'.join(map(str, self.rule))}".encode(), digest_size=6)
        for path, size in zip(self.paths, self.bytes, strict=True):
            digest.update(os.fsencode(path) + f"\0{size}\0".encode())
        return digest.hexdigest()

    def file(self, row: int) -> tuple[Path, int]:
        """Where an image is, and how long its file should be."""
        return self.root / self.paths[row], self.bytes[row]


@dataclass(frozen=True)
class Store:
    """A whole store. It opens its file when it is asked for pixels."""

    folder: Path
    key: str
    size: Integers  # [N,2] height and width of each image
    crc: Integers  # [N] CRC-32 of each image
    broken: Mapping[int, str]  # why, by row
    transparent: int  # images with transparent parts, shown on white

    @property
    def pixels(self) -> Path:
        """The file of the images."""
        return self.folder / f"{self.key}{PIXELS}"

    @property
    def start(self) -> Integers:
        """[N] first byte of each image."""
        start: Integers = self.ends - self.size.prod(1) * CHANNELS
        return start

    @property
    def ends(self) -> Integers:
        """[N] the byte after each image."""
        return ends_of(self.size)

    def map(self) -> npt.NDArray[np.uint8]:
        """All bytes of the store, mapped: nothing is read before it is used."""
        mapped: npt.NDArray[np.uint8] = np.memmap(self.pixels, np.uint8, mode="r")
        return mapped

    def damaged(self, rows: Iterable[int]) -> list[int]:
        """Those of `rows` whose pixels do not fit their checksum."""
        start, ends = self.start.tolist(), self.ends.tolist()
        with self.pixels.open("rb") as file:
            return [k for k in rows if zlib.crc32(_read(file.fileno(), start[k], ends[k])) != self.crc[k]]


def ends_of(size: Integers) -> Integers:
    """[N] where each image ends, from [N,2] heights and widths."""
    ends: Integers = np.cumsum(size.prod(1) * CHANNELS)
    return ends


def load(folder: Path, key: str) -> Store | None:
    """The store of a key, or None where there is no whole one.

    Raises:
        UserError: its file has another length than it should, or its description is not readable.
    """
    path = folder / f"{key}{DESCRIPTION}"
    if not path.is_file():
        return None
    store = _told(folder, key, read_json(path) or {})
    if store is None:
        raise UserError(f"{path} is damaged or of another version: {_remedy(folder, key)}.")
    length = store.pixels.stat().st_size if store.pixels.is_file() else -1
    if length != int(store.ends[-1]):
        found = "is not there" if length < 0 else f"has {length:,} bytes instead of {int(store.ends[-1]):,}"
        raise UserError(f"{store.pixels} {found}: {_remedy(folder, key)}.")
    return store


def _told(folder: Path, key: str, told: Mapping[str, Any]) -> Store | None:
    """The store that a description tells of, or None if it is not one of this version."""
    try:
        size = np.array([told["heights"], told["widths"]], dtype=np.int64).T.reshape(-1, 2)
        broken = {int(row): str(reason) for row, reason in told["broken"].items()}
        store = Store(folder, key, size, np.array(told["crc"], dtype=np.int64), broken, int(told["transparent"]))
        current = (told["format"], told["arithmetic"]) == (FORMAT, ARITHMETIC)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return store if current and len(store.crc) == len(size) else None


def check(store: Store, request: Request, seed: int) -> None:
    """Compare some images, chosen by `seed`, with their checksums.

    Raises:
        UserError: an image is not what was written.
    """
    rows = np.random.RandomState(seed).randint(0, len(store.size), LOOKED_AT)
    damaged = store.damaged(sorted(set(rows.tolist())))
    if damaged:
        where = f"image {request.paths[damaged[0]]} in it is not what was written"
        raise UserError(f"{store.pixels} is damaged ({where}): {_remedy(store.folder, store.key)}.")


class Listed(NamedTuple):
    """A store as a person sees it."""

    key: str
    of: str  # what it holds
    rule: Rule | None  # None: not readable
    images: int
    bytes: int  # on the disk
    state: str


def stores(folder: Path) -> Iterator[Listed]:
    """Every store in a folder, whole or not, oldest first."""
    found = {path.stem for ending in (PIXELS, DESCRIPTION, UNFINISHED) for path in folder.glob(f"*{ending}")}
    keys = sorted(found, key=lambda key: (_time_of(folder, key), key))
    for key in keys:
        told = read_json(folder / f"{key}{DESCRIPTION}")
        pixels = folder / f"{key}{PIXELS}"
        length = pixels.stat().st_size if pixels.is_file() else 0
        if told is None:
            yield Listed(key, "", None, 0, length, "not finished: the same command goes on with it")
            continue
        current = (told.get("format"), told.get("arithmetic")) == (FORMAT, ARITHMETIC)
        broken = len(told.get("broken", {}))
        state = "whole" if current else "of another version: remove it"
        state += f", {broken} images broken" if broken else ""
        rule = Rule(*told["rule"]) if isinstance(told.get("rule"), list) else None
        yield Listed(key, str(told.get("of", "")), rule, len(told.get("heights", ())), length, state)


def remove(folder: Path, key: str) -> int:
    """Remove the files of a store, its description first; returns how many bytes they were.

    Raises:
        UserError: there is no such store, or a process builds it.
    """
    from filelock import FileLock, Timeout

    if not any((folder / f"{key}{ending}").exists() for ending in (PIXELS, DESCRIPTION, UNFINISHED)):
        raise UserError(f"key={key} is not possible: there is no such store in {folder}.")
    try:
        with FileLock(folder / f"{key}{LOCK}", timeout=0):
            freed = 0
            for ending in (DESCRIPTION, UNFINISHED, BROKEN, PIXELS):
                path = folder / f"{key}{ending}"
                freed += path.stat().st_size if path.is_file() else 0
                path.unlink(missing_ok=True)
    except Timeout:
        raise UserError(f"key={key} is not possible: a process builds this store.") from None
    return freed


def room_for(folder: Path, needed: int, there: int = 0) -> None:
    """Refuse to write `needed` bytes where there is no room for them beside the `there` of them that are written.

    Raises:
        UserError: the sentence with both numbers.
    """
    free = shutil.disk_usage(folder).free + there
    if needed > free:
        raise UserError(
            f"dataset.store={folder} is not possible: the images need {gigabytes(needed)} there and {gigabytes(free)} "
            "are free; free some, name another folder, or choose a smaller dataset.store_side."
        )


def gigabytes(size: float) -> str:
    """A number of bytes as people read it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _time_of(folder: Path, key: str) -> float:
    times = [path.stat().st_mtime for path in folder.glob(f"{key}.*")]
    return min(times, default=time.time())


def _read(file: int, start: int, end: int) -> bytes:
    """Bytes of a file; fewer where it ends."""
    pieces = []
    while start < end and (piece := os.pread(file, end - start, start)):
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)


def _remedy(folder: Path, key: str) -> str:
    return f"remove it with python -m daso.store remove dataset.store={folder} key={key}, and it is built anew"


def full(error: OSError) -> bool:
    """Whether an error says that a disk, or what one may use of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def description(request: Request, of: str, size: Integers, made: Mapping[str, Any]) -> dict[str, Any]:
    """What `<key>.json` holds."""
    return {
        "format": FORMAT,
        "arithmetic": ARITHMETIC,
        "of": of,
        "rule": list(request.rule),
        "images": len(request.paths),
        "heights": size[:, 0].tolist(),
        "widths": size[:, 1].tolist(),
        **made,
    }
