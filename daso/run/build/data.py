"""Images and the order in which a run sees them."""

from functools import partial

import numpy as np
from torch import Tensor

from daso.data.pool import Pool
from daso.data.sources import Arrays
from daso.data.split import Split
from daso.data.streams import Stream, class_aware_round, permutation_round
from daso.schema import Config, EstimateProtocol
from daso.train.rng import generator


def data_of(config: Config) -> tuple[Arrays, Split]:
    """Load the data set and split it; nothing here depends on torch's random state."""
    from daso.data import index_files
    from daso.data.sources import load
    from daso.data.split import hold_out, make_split

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


def true_prior(pool: Pool, classes: int) -> np.ndarray | None:
    """[C] class distribution of the unlabeled set, for the meters alone; None where it is unknown, or nothing is."""
    y = pool.unlabeled_y
    if y is None or len(y) == 0 or bool((y < 0).any()):
        return None
    prior: np.ndarray = np.bincount(y.cpu().numpy(), minlength=classes) / len(y)
    return prior


def labeled_stream(config: Config, labels: Tensor, phase: int) -> Stream:
    """An endless, stateless stream of row numbers of a labeled set with `labels` [N], from the start of a phase."""
    sampler = config.sampler
    aware = sampler.name == "class_aware"
    round = class_aware_round(labels.cpu(), sampler.beta) if aware else permutation_round(len(labels))
    return Stream(partial(generator, config.seed, "rows/labeled" if phase == 0 else f"rows/labeled/{phase}"), round)


def unlabeled_stream(config: Config, rows: int) -> Stream:
    """An endless, stateless stream of row numbers of the unlabeled set: one permutation after another."""
    return Stream(partial(generator, config.seed, "rows/unlabeled"), permutation_round(rows))
