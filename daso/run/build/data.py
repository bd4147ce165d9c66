"""Images and the order in which a run sees them."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from daso.data.images.build import Progress
from daso.data.images.pools import arrays_of, ragged_pool
from daso.data.images.source import Gallery, gallery, split_of
from daso.data.pool import AnyPool, Pool
from daso.data.sources import Arrays
from daso.data.split import Split
from daso.data.streams import Stream, class_aware_round, permutation_round
from daso.data.views.resize import Resize
from daso.machine.devices import usable_cores
from daso.schema import Config, EstimateProtocol
from daso.train.rng import generator
from daso.types import Wanted

Data = Arrays | Gallery
"""What a data set is read into: arrays in memory or mapped, or files whose pixels are stored."""


def unheard(_: str) -> Progress:
    """Nobody is told how far the store of a set is."""
    return lambda done, total: None


def data_of(config: Config, progress: Callable[[str], Progress] = unheard) -> tuple[Data, Split]:
    """Load the data set and split it; nothing here depends on torch's random state.

    Args:
        progress: of a data set of image files: name of a set -> who is told how far its store is.
    """
    from daso.data import index_files
    from daso.data.sources import load
    from daso.data.split import hold_out, make_split

    if config.dataset.reader:
        return _files_of(config, progress)
    arrays, protocol = load(config.dataset, config.reads_unlabeled), config.protocol
    extra = 0 if arrays.unlabeled_x is None else len(arrays.unlabeled_x)
    labels = np.asarray(arrays.train_y)
    if config.dataset.splits:
        split = index_files.fitting(index_files.imported(config), config, labels, extra)
    else:
        split = make_split(labels, config.dataset, config.imb, config.seed, config.reads_unlabeled, extra)
    if isinstance(protocol, EstimateProtocol):
        split = hold_out(split, labels, config.dataset.num_classes, protocol.holdout)
    return arrays, split


def _files_of(config: Config, progress: Callable[[str], Progress]) -> tuple[Gallery, Split]:
    from daso.data.split import hold_out

    dataset, protocol = config.dataset, config.protocol
    found = gallery(dataset, config.seed, len(usable_cores()), progress)
    split = split_of(found.index, dataset, config.imb, config.seed, config.reads_unlabeled, found.broken)
    if isinstance(protocol, EstimateProtocol):
        split = hold_out(split, found.train_y, dataset.num_classes, protocol.holdout)
    return found, split


def true_priors(pool: AnyPool, classes: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """[C] class distributions of the unlabeled set and of all training images, each counted once, for the meters alone;
    None where it is unknown, or nothing is.
    """
    y = pool.unlabeled_y
    if y is None or len(y) == 0 or bool((y < 0).any()):
        return None, None
    unlabeled: np.ndarray = np.bincount(y.cpu().numpy(), minlength=classes)
    everything = np.bincount(torch.cat([pool.labeled_y, y[pool.shared :]]).cpu().numpy(), minlength=classes)
    return unlabeled / unlabeled.sum(), everything / everything.sum()


def pool_of(config: Config, data: Data, split: Split, device: torch.device) -> AnyPool:
    """The images of a run where a step finds them."""
    dataset, train = config.dataset, config.train
    if isinstance(data, Gallery) and dataset.resized_crop:
        more = sum(node.batches_aside for node in config.records.values() if node.name != node.absent)
        batch = train.batch_size * (1 + train.mu * config.reads_unlabeled + more)
        place, side = dataset.place, dataset.resolution
        return ragged_pool(data, split, dataset.num_classes, device, place, batch, side)
    arrays = arrays_of(data) if isinstance(data, Gallery) else data
    shrink = Resize(dataset.source_size, dataset.stored_size).to(device) if dataset.resizes_first else None
    return Pool.build(arrays, split, dataset.num_classes, device, dataset.unlabeled_includes, shrink)


def labeled_stream(config: Config, labels: Tensor, phase: int) -> Stream:
    """An endless, stateless stream of row numbers of a labeled set with `labels` [N], from the start of a phase."""
    sampler = config.sampler
    aware = sampler.name == "class_aware"
    round = class_aware_round(labels.cpu(), sampler.beta) if aware else permutation_round(len(labels))
    return Stream(partial(generator, config.seed, "rows/labeled" if phase == 0 else f"rows/labeled/{phase}"), round)


def unlabeled_stream(config: Config, rows: int) -> Stream:
    """An endless, stateless stream of row numbers of the unlabeled set: one permutation after another."""
    return Stream(partial(generator, config.seed, "rows/unlabeled"), permutation_round(rows))


def aside_stream(config: Config, wants: Mapping[str, Wanted], name: str, labels: Tensor, images: int) -> Stream:
    """A stream of row numbers for a batch of a part's own: of a labeled set with `labels` [n], all classes alike, or of
    all `images`.
    """
    round = class_aware_round(labels.cpu(), 1.0) if wants[name].balanced else permutation_round(images)
    return Stream(partial(generator, config.seed, f"rows/{name}"), round)
