"""The images of a run, uint8, resident on its device: a batch is one gather, there are no loader workers.

Images of unequal size have a pool of their own with the same face; they may be too many for the device.
Legend: N images of a set, B of a batch, c channels, H W pixels, C classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from daso.data.ragged import Images
from daso.data.sources import Arrays
from daso.data.split import Rows, Split
from daso.data.views import Ragged
from daso.schema import Includes
from daso.types import Given

UNKNOWN_LABEL = -1
CHUNK = 256  # images in flight while a set moves to the device: 7 MB at 96x96x3
LABELED, UNLABELED = "labeled", "unlabeled"  # whose row numbers a batch is made of


class AnyPool(Protocol):
    """What a run needs of its pool; the sets a run does not have are None."""

    @property
    def labeled_y(self) -> Tensor:
        """[N] int64."""

    @property
    def unlabeled_y(self) -> Tensor | None:
        """[N] int64, -1 = unknown, -2 = of no class; for pseudo-label statistics only, never for a learner."""

    @property
    def valid_x(self) -> Tensor | None:
        """[N,c,H,W] uint8."""

    @property
    def valid_y(self) -> Tensor | None:
        """[N] int64."""

    @property
    def test_x(self) -> Tensor:
        """[N,c,H,W] uint8."""

    @property
    def test_y(self) -> Tensor:
        """[N] int64."""

    @property
    def counts(self) -> Tensor:
        """[C] int64: labeled images per class."""

    @property
    def shared(self) -> int:
        """How many images at the head of the unlabeled set are the labeled ones."""

    @property
    def far(self) -> bool:
        """Whether images have to be brought."""

    @property
    def ahead(self) -> int:
        """Of how many steps to come it helps to say which images they need."""

    @property
    def waited(self) -> float:
        """For how many seconds that has been waited for so far."""

    def bring(self, rows: Mapping[str, Tensor]) -> Given:
        """Make images readable: rows [B] on the CPU by set, of the unlabeled set the unlabeled ones, of all training
        images all others. What `pick` needs to find them."""

    def expect(self, rows: Mapping[str, Tensor]) -> None:
        """Say which images will be brought after those that are expected already; nothing depends on it but time."""

    def sizes(self, name: str, rows: Tensor) -> Tensor | None:
        """[B,2] heights and widths on the CPU, where they differ from image to image."""

    def pick(self, name: str, rows: Tensor, given: Given) -> Tensor | Ragged:
        """The images of a set that were brought: `rows` [B] and `given` on the device."""


def gathered(
    device: torch.device | str,
    *parts: tuple[npt.NDArray[np.uint8], Rows],
    resize: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """[N,c,H,W] uint8 on the device: rows of one source after the other, moved, and perhaps resized, chunk by chunk."""
    total, end = sum(len(rows) for _, rows in parts), 0
    shape = parts[0][0].shape[1:]
    if resize is not None:
        shape = resize(torch.empty((0, *shape), dtype=torch.uint8, device=device)).shape[1:]
    out = torch.empty((total, *shape), dtype=torch.uint8, device=device)
    for source, rows in parts:
        for start in range(0, len(rows), CHUNK):
            chunk = torch.from_numpy(np.ascontiguousarray(source[rows[start : start + CHUNK]]))
            out[end : end + len(chunk)] = chunk if resize is None else resize(chunk.to(device))
            end += len(chunk)
    return out


@dataclass(frozen=True)
class Pool:
    """Everything a run reads, of square images; the sets a run does not have are None.

    The training images are one tensor, so that a row number names an image of either set: which images count as labeled
    can change without moving one, and the unlabeled set can begin with the labeled images.
    """

    train_x: Tensor  # [N,c,H,W] uint8: the labeled images, then the others
    labeled_y: Tensor  # [N] int64
    unlabeled_y: Tensor | None  # [N] int64, -1 = unknown; for pseudo-label statistics only, never for a learner
    valid_x: Tensor | None
    valid_y: Tensor | None
    test_x: Tensor
    test_y: Tensor
    counts: Tensor  # [C] int64: labeled images per class
    shared: int = 0  # how many images at the head of the unlabeled set are the labeled ones

    @property
    def unlabeled_start(self) -> int:
        """Row of `train_x` that the unlabeled set begins with."""
        return len(self.labeled_y) - self.shared

    @property
    def labeled_x(self) -> Tensor:
        """[N,c,H,W] uint8: the initial labeled images."""
        return self.train_x[: len(self.labeled_y)]

    @property
    def unlabeled_x(self) -> Tensor | None:
        """[N,c,H,W] uint8: the unlabeled images."""
        return None if self.unlabeled_y is None else self.train_x[self.unlabeled_start :]

    @property
    def far(self) -> bool:
        """Everything is there."""
        return False

    @property
    def ahead(self) -> int:
        """Everything is there."""
        return 0

    @property
    def waited(self) -> float:
        """Everything is there."""
        return 0.0

    def bring(self, rows: Mapping[str, Tensor]) -> Given:
        """Everything is there."""
        return {}

    def expect(self, rows: Mapping[str, Tensor]) -> None:
        """Everything is there."""

    def sizes(self, name: str, rows: Tensor) -> Tensor | None:
        """All images are of one size."""
        return None

    def pick(self, name: str, rows: Tensor, given: Given) -> Tensor:
        """[B,c,H,W] uint8."""
        source = self.unlabeled_x if name == UNLABELED else self.train_x
        assert source is not None, "a run without unlabeled images asks for none"
        return source[rows]

    @classmethod
    def build(
        cls,
        arrays: Arrays,
        split: Split,
        num_classes: int,
        device: torch.device | str,
        includes: Includes = Includes.none,
        resize: Callable[[Tensor], Tensor] | None = None,
    ) -> "Pool":
        """Gather the rows of `split` and move each set to `device` once, as uint8, chunk by chunk.

        Beside the pool itself no more than a chunk is allocated, also where `arrays` lies in a mapped file.

        Args:
            arrays, split: the data set, and which of its rows play which part.
            num_classes: C.
            device: where to.
            includes: what the unlabeled set, if there is one, has beside its own images.
            resize: how images become those of the pool, uint8 [n,c,H,W] on `device`; None: they stay as they are.
        """

        def images(*parts: tuple[npt.NDArray[np.uint8], Rows]) -> Tensor:
            return gathered(device, *parts, resize=resize)

        def labels(rows: Rows) -> Tensor:
            return torch.from_numpy(arrays.train_y[rows]).to(device)

        has_unlabeled, own = len(split.unlabeled) > 0, arrays.unlabeled_x
        train, unlabeled_y, shared = [(arrays.train_x, split.labeled)], None, 0
        if has_unlabeled:
            train.append((arrays.train_x if own is None else own, split.unlabeled))
            rows = [split.unlabeled]  # of the unlabeled set, in order
            if includes is not Includes.none:
                shared, rows = len(split.labeled), [split.labeled, *rows]
            if includes is Includes.train:
                rest = np.setdiff1d(np.arange(len(arrays.train_y)), np.concatenate([split.labeled, split.valid]))
                train, rows = [*train, (arrays.train_x, rest)], [*rows, rest]
            if own is None:
                unlabeled_y = torch.cat([labels(some) for some in rows])
            else:  # where most labels are unknown, no statistics of the others
                size = sum(map(len, rows))
                unlabeled_y = torch.full((size,), UNKNOWN_LABEL, dtype=torch.int64, device=device)
        valid_x, valid_y = None, None
        if len(split.valid):
            valid_x, valid_y = images((arrays.train_x, split.valid)), labels(split.valid)
        elif arrays.valid_x is not None and arrays.valid_y is not None:
            valid_x = images((arrays.valid_x, np.arange(len(arrays.valid_x))))
            valid_y = torch.from_numpy(arrays.valid_y).to(device)
        counts = np.bincount(arrays.train_y[split.labeled], minlength=num_classes)
        return cls(
            train_x=images(*train),
            labeled_y=labels(split.labeled),
            unlabeled_y=unlabeled_y,
            valid_x=valid_x,
            valid_y=valid_y,
            test_x=images((arrays.test_x, np.arange(len(arrays.test_x)))),
            test_y=torch.from_numpy(arrays.test_y).to(device),
            counts=torch.from_numpy(counts).to(device),
            shared=shared,
        )


@dataclass(frozen=True)
class RaggedPool:
    """Everything a run reads, of images of unequal size; what it is tested on has been made one size before.

    The training images are the labeled ones, then the unlabeled ones, as in `Pool`.
    """

    images: Images  # N training images
    labeled_y: Tensor  # [N] int64
    unlabeled_y: Tensor | None
    valid_x: Tensor | None
    valid_y: Tensor | None
    test_x: Tensor  # [N,c,H,W] uint8
    test_y: Tensor
    counts: Tensor  # [C] int64
    shared: int = 0  # the unlabeled set has none of the labeled images

    @property
    def far(self) -> bool:
        """Whether the images are read from the disk when a step needs them."""
        return self.images.far

    @property
    def ahead(self) -> int:
        """Of how many steps to come the images are read."""
        return self.images.ahead

    @property
    def waited(self) -> float:
        """For how many seconds steps have waited for their images so far."""
        return self.images.waited

    def bring(self, rows: Mapping[str, Tensor]) -> Given:
        """The first byte of each image, [B] int64 by set."""
        start = self.images.load(self._all(rows))
        parts = torch.split(start, [len(some) for some in rows.values()])
        return {f"start/{name}": part for name, part in zip(rows, parts, strict=True)}

    def expect(self, rows: Mapping[str, Tensor]) -> None:
        """Begin to read them, where they are not there."""
        self.images.expect(self._all(rows))

    def sizes(self, name: str, rows: Tensor) -> Tensor | None:
        """[B,2] int64 on the CPU: height and width of each image."""
        return self.images.size[self._of_all(name, rows)]

    def pick(self, name: str, rows: Tensor, given: Given) -> Ragged:
        """The images of a set that were brought."""
        size = self.images.size_there[self._of_all(name, rows)]
        return Ragged(self.images.bytes, given[f"start/{name}"], size)

    def _all(self, rows: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([self._of_all(name, some) for name, some in rows.items()])

    def _of_all(self, name: str, rows: Tensor) -> Tensor:
        return rows + len(self.labeled_y) if name == UNLABELED else rows
