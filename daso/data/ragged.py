"""Images of unequal size, where a step finds them: on the device for the whole run.

Legend: N images of a run, B of a step.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from daso.data.images.store import CHANNELS, Store
from daso.errors import RunFailed, UserError

Integers = npt.NDArray[np.int64]
PIECE = 64 << 20  # bytes in flight while images move to the device


class Shelf(NamedTuple):
    """Where images lie on the disk."""

    files: tuple[Path, ...]
    file: Integers  # [N] which of them
    start: Integers  # [N] first byte in it
    size: Integers  # [N,2] height and width

    @classmethod
    def of(cls, stores: Sequence[Store]) -> "Shelf":
        """All images of several stores, one store after the other."""
        return cls(
            files=tuple(store.pixels for store in stores),
            file=np.repeat(np.arange(len(stores)), [len(store.size) for store in stores]),
            start=np.concatenate([store.start for store in stores]),
            size=np.concatenate([store.size for store in stores]),
        )

    def take(self, rows: Integers) -> "Shelf":
        """Some of the images, in the order of `rows`."""
        return self._replace(file=self.file[rows], start=self.start[rows], size=self.size[rows])

    @property
    def length(self) -> Integers:
        """[N] bytes of each image."""
        length: Integers = self.size.prod(1) * CHANNELS
        return length


class Images(Protocol):
    """What the feed needs of a run's images, wherever they are."""

    bytes: Tensor  # uint8 on the device, always at the same address
    size: Tensor  # [N,2] int64 on the CPU: height and width
    size_there: Tensor  # the same on the device
    far: bool  # whether `load` reads from the disk
    ahead: int  # of how many steps to come it begins to read the images that are expected
    waited: float  # seconds that `load` has waited for it so far

    def load(self, rows: Tensor) -> Tensor:
        """Make the images `rows` [B] readable in `bytes`; [B] int64 on the CPU, the first byte of each."""

    def expect(self, rows: Tensor) -> None:
        """Say which images will be asked for after those that are expected already; nothing depends on it but time."""


class Resident:
    """All images on the device: to load some is to look up where they are.

    Raises:
        UserError: a file of the shelf cannot be opened.
        RunFailed: one cannot be read.
    """

    far, ahead, waited = False, 0, 0.0

    def __init__(self, shelf: Shelf, device: torch.device | str) -> None:
        length = shelf.length
        self.start = torch.from_numpy(np.cumsum(length) - length)
        self.size = torch.from_numpy(shelf.size)
        self.size_there = self.size.to(device)
        self.bytes = torch.empty(int(length.sum()), dtype=torch.uint8, device=device)
        self._fill(shelf)

    def load(self, rows: Tensor) -> Tensor:
        """[B] first bytes of the images `rows`."""
        return self.start[rows]

    def expect(self, rows: Tensor) -> None:
        """They are there already."""

    def _fill(self, shelf: Shelf) -> None:
        """Read every image, piece by piece; neighbours in a file are read in one go."""
        piece = np.empty(min(PIECE, self.bytes.numel()), dtype=np.uint8)
        with Reader(shelf.files) as reader:
            done = 0
            for file, start, end in _runs(shelf):
                while start < end:
                    part = piece[: min(end - start, len(piece))]
                    reader.read(file, start, part)
                    self.bytes[done : done + len(part)] = torch.from_numpy(part)
                    start, done = start + len(part), done + len(part)


class Reader:
    """Reads from the files of a shelf into memory that is handed in; many threads may use it."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self._open: list[int] = []

    def __enter__(self) -> "Reader":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Open every file.

        Raises:
            UserError: one cannot be opened.
        """
        for path in self.files:
            try:
                self._open.append(os.open(path, os.O_RDONLY))
            except OSError as error:
                self.close()
                raise UserError(f"{path} cannot be read ({error.strerror}): is its store being removed?") from error

    def close(self) -> None:
        """Close them."""
        while self._open:
            os.close(self._open.pop())

    def read(self, file: int, start: int, into: npt.NDArray[np.uint8]) -> None:
        """Fill `into` with the bytes of a file from `start` on.

        Raises:
            RunFailed: it holds fewer, or cannot be read.
        """
        done = 0
        while done < len(into):
            try:
                count = os.preadv(self._open[file], [into[done:].data], start + done)
            except OSError as error:
                raise RunFailed(f"{self.files[file]} cannot be read ({error.strerror}).") from error
            if not count:
                raise RunFailed(f"{self.files[file]} ends too early: remove its store, and it is built anew.")
            done += count


def _runs(shelf: Shelf) -> list[tuple[int, int, int]]:
    """(file, first byte, byte after the last) of images that lie one behind the other, in the order of the shelf."""
    end = shelf.start + shelf.length
    breaks = (shelf.file[1:] != shelf.file[:-1]) | (shelf.start[1:] != end[:-1])
    first = np.concatenate([[0], np.flatnonzero(breaks) + 1]) if len(end) else np.zeros(0, np.int64)
    last = np.append(first[1:], len(end)) - 1
    return list(zip(shelf.file[first].tolist(), shelf.start[first].tolist(), end[last].tolist()))
