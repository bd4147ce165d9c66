"""What every data set is read into."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


class Arrays(NamedTuple):
    """A data set in memory or in a mapped file: N images of c channels (gray images keep one), H x W pixels."""

    train_x: Images  # [N,c,H,W]
    train_y: Labels  # [N]
    test_x: Images
    test_y: Labels
    unlabeled_x: Images | None  # the data set's own unlabeled images
    valid_x: Images | None = None  # the data set's own validation images
    valid_y: Labels | None = None
