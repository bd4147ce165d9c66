"""What a part sees of its run between two steps, from the objects of the run."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import Generator, Tensor

from daso.data.feed import Feed
from daso.data.streams import Stream, permutation_round
from daso.nn.net import Net
from daso.slots.losses import wide
from daso.train.evaluate import BATCH
from daso.types import Scene, View


def scene_of(
    feed: Feed,
    teacher: Net,
    generator: Callable[[str, int], Generator],
    autocast: Callable[[], AbstractContextManager[object]],
) -> Scene:
    """The images that `feed` knows of, as the average network sees them; every random number is keyed by its use."""

    def features(rows: Tensor, view: View, stream: str) -> Iterator[Tensor]:
        for number, some in enumerate(torch.split(rows, min(BATCH, feed.at_once))):
            images = feed.seen(some, view, generator(f"views/{stream}", number))
            with torch.no_grad(), autocast():
                found = teacher.encode(images, running_stats=True)
            yield wide(found)

    def shuffled(stream: str, rows: int) -> Callable[[int, int], Tensor]:
        return Stream(lambda number: generator(f"rows/{stream}", number), permutation_round(rows)).rows

    unlabeled = torch.arange(len(feed.pool.labeled_y), feed.total)
    return Scene(feed.labeled_rows, feed.labeled_y, unlabeled, features, shuffled, generator)
