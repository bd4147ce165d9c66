"""How large the classes of a long-tailed set are, and whether a data set has that many images. Pure Python: the
configuration is checked with it before anything is imported or read.
"""

from daso.schema import UNKNOWN, DatasetConfig, ImbalanceConfig, require


def class_counts(n_max: int, gamma: float, classes: int) -> list[int]:
    """Images per class, head to tail: N_k = N_1 * gamma^(-(k-1)/(C-1)), truncated (paper, App. C.1).

    A gamma below 1 is the reversed distribution: the last class is the largest, the first has gamma * n_max images.
    """
    reversed_order = gamma < 1
    tail = gamma if reversed_order else 1 / gamma
    counts = [int(n_max * tail ** (rank / max(classes - 1.0, 1.0))) for rank in range(classes)]
    return counts[::-1] if reversed_order else counts


def check_sizes(dataset: DatasetConfig, imb: ImbalanceConfig, class_size: int) -> None:
    """Refuse sizes that the data set cannot fill, and classes that truncation would leave empty.

    Args:
        class_size: training images of the smallest class.

    Raises:
        UserError: more images are asked for than there are, a class would be empty, or an unlabeled setting does not
            suit the data set.
    """
    held_out = dataset.num_valid // dataset.num_classes
    room = class_size - held_out
    has = f"a class of {dataset.name} has {class_size} training images"
    has += f", of which dataset.num_valid={dataset.num_valid} takes {held_out}" if held_out else ""
    if dataset.unknown_unlabeled:
        own = f"{dataset.name} brings its own unlabeled images, unlabeled in truth: imb.m1=unknown imb.gamma_u=unknown"
        require(imb.m1 == UNKNOWN, "imb.m1", imb.m1, own)
        require(imb.gamma_u == UNKNOWN, "imb.gamma_u", imb.gamma_u, own)
        require(imb.n1 <= room, "imb.n1", imb.n1, f"{has}, so {room} at most")
    else:
        made = f"the unlabeled set of {dataset.name} is made from its training images, so a number"
        require(imb.m1 != UNKNOWN, "imb.m1", imb.m1, made)
        require(imb.gamma_u != UNKNOWN, "imb.gamma_u", imb.gamma_u, made)
        require(imb.n1 + imb.m1 <= room, "imb.n1 + imb.m1", f"{imb.n1} + {imb.m1}", f"{has}, so {room} at most")
        _check_tail("imb.gamma_u", imb.gamma_u, "imb.m1", imb.m1)
    _check_tail("imb.gamma_l", imb.gamma_l, "imb.n1", imb.n1)


def _check_tail(key: str, gamma: float, head_key: str, head: int) -> None:
    bound = f"below {head}" if gamma >= 1 else f"above 1/{head}"
    right = f"{head_key}={head} would leave the smallest class empty, so choose it {bound}"
    require(min(class_counts(head, gamma, 2)) >= 1, key, f"{gamma:g}", right)
