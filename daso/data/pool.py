"""The images of a run, uint8, resident on its device: a batch is one gather, there are no loader workers.

Legend: N images of a set, c channels, H W pixels, C classes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from daso.data.sources import Arrays
from daso.data.split import Rows, Split

UNKNOWN_LABEL = -1
CHUNK = 256  # images in flight while a set moves to the device: 7 MB at 96x96x3


@dataclass(frozen=True)
class Pool:
    """Everything a run reads; the sets a run does not have are None.

    The training images are one tensor, so that a row number names an image of either set: which images count as labeled
    can change without moving one.
    """

    train_x: Tensor  # [N,c,H,W] uint8: the labeled images, then the unlabeled ones
    labeled_y: Tensor  # [N] int64
    unlabeled_y: Tensor | None  # [N] int64, -1 = unknown; for pseudo-label statistics only, never for a learner
    valid_x: Tensor | None
    valid_y: Tensor | None
    test_x: Tensor
    test_y: Tensor
    counts: Tensor  # [C] int64: labeled images per class

    @property
    def labeled_x(self) -> Tensor:
        """[N,c,H,W] uint8: the initial labeled images."""
        return self.train_x[: len(self.labeled_y)]

    @property
    def unlabeled_x(self) -> Tensor | None:
        """[N,c,H,W] uint8: the unlabeled images."""
        return None if self.unlabeled_y is None else self.train_x[len(self.labeled_y) :]

    @classmethod
    def build(cls, arrays: Arrays, split: Split, num_classes: int, device: torch.device | str) -> "Pool":
        """Gather the rows of `split` and move each set to `device` once, as uint8, chunk by chunk.

        Beside the pool itself no more than a chunk is allocated, also where `arrays` lies in a mapped file.
        """

        def images(*parts: tuple[npt.NDArray[np.uint8], Rows]) -> Tensor:
            total, end = sum(len(rows) for _, rows in parts), 0
            out = torch.empty((total, *parts[0][0].shape[1:]), dtype=torch.uint8, device=device)
            for source, rows in parts:
                for start in range(0, len(rows), CHUNK):
                    chunk = np.ascontiguousarray(source[rows[start : start + CHUNK]])
                    out[end : end + len(chunk)] = torch.from_numpy(chunk)
                    end += len(chunk)
            return out

        def labels(rows: Rows) -> Tensor:
            return torch.from_numpy(arrays.train_y[rows]).to(device)

        has_unlabeled, has_valid, own = len(split.unlabeled) > 0, len(split.valid) > 0, arrays.unlabeled_x
        train, unlabeled_y = [(arrays.train_x, split.labeled)], None
        if has_unlabeled:
            train.append((arrays.train_x if own is None else own, split.unlabeled))
            unlabeled_y = (
                labels(split.unlabeled)
                if own is None
                else torch.full((len(split.unlabeled),), UNKNOWN_LABEL, dtype=torch.int64, device=device)
            )
        counts = np.bincount(arrays.train_y[split.labeled], minlength=num_classes)
        return cls(
            train_x=images(*train),
            labeled_y=labels(split.labeled),
            unlabeled_y=unlabeled_y,
            valid_x=images((arrays.train_x, split.valid)) if has_valid else None,
            valid_y=labels(split.valid) if has_valid else None,
            test_x=images((arrays.test_x, np.arange(len(arrays.test_x)))),
            test_y=torch.from_numpy(arrays.test_y).to(device),
            counts=torch.from_numpy(counts).to(device),
        )
