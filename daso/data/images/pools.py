"""From stored images to the pool of a run.

Legend: N training images, C classes.
"""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from daso.data.freight import Freight
from daso.data.images.source import Gallery, Held, squares
from daso.data.pool import RaggedPool, gathered
from daso.data.ragged import Images, Resident, Shelf
from daso.data.sources import Arrays
from daso.data.split import Rows, Split
from daso.data.views.boxes import central_boxes
from daso.data.views.crop import Ragged, ResizedCrop

SHARE = 0.35  # of a device's memory that images may take before they are read from the disk instead


def arrays_of(gallery: Gallery) -> Arrays:
    """Images of one size as the arrays of any other data set, mapped."""
    (store,) = gallery.stores
    valid = gallery.valid or Held(np.zeros((0, 3, 1, 1), np.uint8), np.zeros(0, np.int64))
    own = (valid.x, valid.y) if gallery.valid else (None, None)
    return Arrays(squares(store), gallery.train_y, gallery.test.x, gallery.test.y, None, *own)


def ragged_pool(
    gallery: Gallery, split: Split, classes: int, device: torch.device, place: str, batch: int, side: int
) -> RaggedPool:
    """The pool of a run on images of unequal size.

    Args:
        gallery: what there is.
        split: which of it the run uses.
        classes: C.
        device: where the run computes.
        place: `device`, `host` (read from the disk, a step ahead), or `auto`: the device where there is room.
        batch: images of a step.
        side: of the images that are evaluated.
    """
    everything = Shelf.of(gallery.stores)
    shelf = everything.take(np.concatenate([split.labeled, split.unlabeled]))
    resident = place == "device" or (place == "auto" and shelf.length.sum() <= SHARE * memory(device))
    images: Images = Resident(shelf, device) if resident else Freight(shelf, batch, device)

    def labels(rows: Rows) -> Tensor:
        return torch.from_numpy(gallery.train_y[rows]).to(device)

    def held(found: Held) -> tuple[Tensor, Tensor]:
        return gathered(device, (found.x, np.arange(len(found.x)))), torch.from_numpy(found.y).to(device)

    valid_x, valid_y = held(gallery.valid) if gallery.valid else (None, None)
    if len(split.valid):
        valid_x, valid_y = _evaluated(everything.take(split.valid), side).to(device), labels(split.valid)
    test_x, test_y = held(gallery.test)
    return RaggedPool(
        images=images,
        labeled_y=labels(split.labeled),
        unlabeled_y=labels(split.unlabeled) if len(split.unlabeled) else None,
        valid_x=valid_x,
        valid_y=valid_y,
        test_x=test_x,
        test_y=test_y,
        counts=torch.from_numpy(np.bincount(gallery.train_y[split.labeled], minlength=classes)).to(device),
    )


def memory(device: torch.device) -> int:
    """Bytes of memory of a GPU, or of this machine."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    text = limit.read_text().strip() if limit.is_file() else ""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(int(text), physical) if text.isdecimal() else physical


def _evaluated(shelf: Shelf, side: int) -> Tensor:
    """[n,3,side,side] training images as they are evaluated, on the CPU."""
    images = Resident(shelf, "cpu")
    source = Ragged(images.bytes, images.start, images.size)
    out: Tensor = ResizedCrop(side)(source, central_boxes(images.size), torch.zeros(len(images.size), dtype=torch.bool))
    return out
