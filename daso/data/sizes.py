"""How large the classes of a long-tailed set are, and whether a data set has that many images. Pure Python: the
configuration is checked with it before anything is imported or read.

Shape legend: C classes; class k has the rank k by labeled images, 0 the head.
"""

from daso.schema import LONG_TAILED, UNKNOWN, DatasetConfig, ImbalanceConfig, require

DIGITS = 6  # to which a share of m1 images is rounded before it is truncated


def class_counts(n_max: int, gamma: float, classes: int) -> list[int]:
    """Images per class, head to tail: N_k = N_1 * gamma^(-(k-1)/(C-1)), truncated (paper, App. C.1).

    A gamma below 1 is the reversed distribution: the last class is the largest, the first has gamma * n_max images.
    """
    reversed_order = gamma < 1
    tail = gamma if reversed_order else 1 / gamma
    counts = [int(n_max * tail ** (rank / max(classes - 1.0, 1.0))) for rank in range(classes)]
    return counts[::-1] if reversed_order else counts


def unlabeled_counts(imb: ImbalanceConfig, classes: int, seed: int) -> list[int]:
    """Images of each unlabeled class [C]; `seed` is the run's, for the shape that is drawn.

    - `long_tailed`: `class_counts` of gamma_u (paper, App. C.1).
    - `middle`, `head_tail` (SimPro, ICML 2024): the same counts in another order, the largest in the middle (of ten
      classes those of rank 8 6 4 2 0 1 3 5 7 9) or at both ends (1 3 5 7 9 8 6 4 2 0).
    - `random` (SimPro): the same counts; class k has that of rank `RandomState(seed).permutation(C)[k]`.
    - `gaussian`, `inverse_gaussian` (SC-SSL, AAAI 2026): a normal density over the ranks with its mean in the middle,
      as wide as gamma_u says; and max + min - that.
    """
    if imb.unlabeled_counts:
        return list(imb.unlabeled_counts)
    counts = class_counts(imb.m1, imb.gamma_u, classes)
    if imb.unlabeled_shape in ("gaussian", "inverse_gaussian"):
        return _bell(imb.m1, imb.gamma_u, classes, inverse=imb.unlabeled_shape != "gaussian")
    if imb.unlabeled_shape == "random":
        from numpy.random import RandomState

        return [counts[rank] for rank in RandomState(seed).permutation(classes)]
    ranks = list(range(classes))
    even, odd = ranks[::2], ranks[1::2]
    order = {LONG_TAILED: ranks, "middle": even[::-1] + odd, "head_tail": odd + even[::-1]}
    return [counts[rank] for rank in order[imb.unlabeled_shape]]


def _bell(largest: int, gamma: float, classes: int, inverse: bool) -> list[int]:
    """Counts of a normal density over the ranks, scaled to `largest`, with largest / smallest = gamma."""
    away = [(rank - (classes - 1) / 2) ** 2 for rank in range(classes)]
    span = max(away) - min(away) or 1.0
    shares = [gamma ** -((distance - min(away)) / span) for distance in away]
    if inverse:
        shares = [1 + 1 / gamma - share for share in shares]
    return [int(round(largest * share, DIGITS)) for share in shares]


def check_sizes(dataset: DatasetConfig, imb: ImbalanceConfig, class_size: int) -> None:
    """Refuse sizes that the data set cannot fill, and classes that truncation would leave empty.

    Args:
        class_size: training images of the smallest class.

    Raises:
        UserError: more images are asked for than there are, a class would be empty, or an unlabeled setting does not
            suit the data set.
    """
    counts = imb.unlabeled_counts
    right = f"one number for each of the {dataset.num_classes} classes of {dataset.name}"
    require(len(counts) in (0, dataset.num_classes), "imb.unlabeled_counts", counts, right)
    if dataset.reader:
        own = f"the unlabeled images of {dataset.name} are those of its files"
        require(not counts, "imb.unlabeled_counts", counts, f"{own}, so none")
        require(
            imb.unlabeled_shape == LONG_TAILED, "imb.unlabeled_shape", imb.unlabeled_shape, f"{own}, so {LONG_TAILED}"
        )
        return  # the rest was compared with the files
    held_out = dataset.num_valid // dataset.num_classes
    room = class_size - held_out
    has = f"a class of {dataset.name} has {class_size} training images"
    has += f", of which dataset.num_valid={dataset.num_valid} takes {held_out}" if held_out else ""
    if dataset.unknown_unlabeled:
        own = f"{dataset.name} brings its own unlabeled images, unlabeled in truth: imb.m1=unknown imb.gamma_u=unknown"
        require(not counts, "imb.unlabeled_counts", counts, own)
        require(imb.unlabeled_shape == LONG_TAILED, "imb.unlabeled_shape", imb.unlabeled_shape, own)
        require(imb.m1 == UNKNOWN, "imb.m1", imb.m1, own)
        require(imb.gamma_u == UNKNOWN, "imb.gamma_u", imb.gamma_u, own)
        require(imb.n1 <= room, "imb.n1", imb.n1, f"{has}, so {room} at most")
    else:
        made = f"the unlabeled set of {dataset.name} is made from its training images, so a number"
        require(imb.m1 != UNKNOWN, "imb.m1", imb.m1, made)
        require(imb.gamma_u != UNKNOWN, "imb.gamma_u", imb.gamma_u, made)
        most = f"imb.n1 + {'the largest of imb.unlabeled_counts' if counts else 'imb.m1'}"
        require(imb.n1 + imb.m1 <= room, most, f"{imb.n1} + {imb.m1}", f"{has}, so {room} at most")
        if not counts:
            _check_tail("imb.gamma_u", imb.gamma_u, "imb.m1", imb.m1)
    _check_tail("imb.gamma_l", imb.gamma_l, "imb.n1", imb.n1)


def _check_tail(key: str, gamma: float, head_key: str, head: int) -> None:
    bound = f"below {head}" if gamma >= 1 else f"above 1/{head}"
    right = f"{head_key}={head} would leave the smallest class empty, so choose it {bound}"
    require(min(class_counts(head, gamma, 2)) >= 1, key, f"{gamma:g}", right)
