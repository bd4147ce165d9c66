"""The learners' knobs, and which places of the step each opens to slots."""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from daso.schema.base import require


class Offer(Enum):
    """A place of the training step that a learner opens to slots."""

    LABELED_LOGITS = "labeled_logits"  # a labeled loss on plain labeled images
    PSEUDO = "pseudo"  # a pseudo-label distribution that passes through align, refine, blend
    STRONG = "strong"  # features of a strong view of the same unlabeled images


@dataclass
class AlgorithmConfig:
    """A learner. Subclasses add its knobs; `offers` says which slots compose with it."""

    name: str
    offers: ClassVar[frozenset[Offer]] = frozenset()
    unlabeled_ratio: ClassVar[int] = 1  # the paper's mu (Table 10), the default of train.mu


@dataclass
class SupervisedAlgorithm(AlgorithmConfig):
    """The labeled images alone."""

    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS})


@dataclass
class FixMatchAlgorithm(AlgorithmConfig):
    """FixMatch: confident pseudo-labels of a weak view train a strong one."""

    threshold: float = 0.95
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.STRONG})
    unlabeled_ratio: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "algorithm.threshold", self.threshold, "a confidence between 0 and 1")


ALGORITHMS: dict[str, type[AlgorithmConfig]] = {"supervised": SupervisedAlgorithm, "fixmatch": FixMatchAlgorithm}
