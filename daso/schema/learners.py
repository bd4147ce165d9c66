"""The learners' knobs, and which places of the step each opens to slots."""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from daso.schema.base import require
from daso.schema.protocol import FrozenBn


class Offer(Enum):
    """A place of the training step that a learner opens to slots."""

    LABELED_LOGITS = "labeled_logits"  # a labeled loss on plain labeled images
    PSEUDO = "pseudo"  # a pseudo-label distribution that passes through align, refine, blend
    CONFIDENCE = "confidence"  # a threshold from which a pseudo-label counts
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
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.CONFIDENCE, Offer.STRONG})
    unlabeled_ratio: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "algorithm.threshold", self.threshold, "a confidence between 0 and 1")


class RampShape(Enum):
    """How a consistency weight grows to its full size."""

    linear = "linear"  # x
    exp = "exp"  # exp(-5 (1 - x)^2)


@dataclass
class RampedAlgorithm(AlgorithmConfig):
    """A learner whose consistency loss grows to its weight over the first `ramp_up` of a phase."""

    cons_weight: float = 1.0
    ramp_up: float = 0.4
    ramp_shape: RampShape = RampShape.linear

    def __post_init__(self) -> None:
        require(self.cons_weight >= 0, "algorithm.cons_weight", self.cons_weight, "a loss weight, 0 or more")
        require(0 < self.ramp_up <= 1, "algorithm.ramp_up", self.ramp_up, "a fraction of train.steps above 0")


@dataclass
class PseudoLabelAlgorithm(RampedAlgorithm):
    """Pseudo-Label: confident pseudo-labels of a weak view train that view."""

    threshold: float = 0.95
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.CONFIDENCE})

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.threshold <= 1, "algorithm.threshold", self.threshold, "a confidence between 0 and 1")


@dataclass
class MeanTeacherAlgorithm(RampedAlgorithm):
    """Mean Teacher: the student's predictions follow its moving average's."""

    cons_weight: float = 50.0
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS, Offer.PSEUDO})


@dataclass
class MixMatchAlgorithm(RampedAlgorithm):
    """MixMatch: sharpened guesses and MixUp. Labeled images are seen mixed only, so no slot may fill their loss."""

    cons_weight: float = 100.0
    ramp_up: float = 0.016
    temperature: float = 0.5
    alpha: float = 0.5
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.PSEUDO})

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.temperature > 0, "algorithm.temperature", self.temperature, "a positive temperature")
        require(self.alpha > 0, "algorithm.alpha", self.alpha, "a positive parameter of the Beta distribution")


@dataclass
class ReMixMatchAlgorithm(MixMatchAlgorithm):
    """ReMixMatch: a weak view labels two strong ones; pre-mixup and rotation losses beside MixMatch's."""

    cons_weight: float = 1.5
    alpha: float = 0.75
    kl_weight: float = 0.5
    rot_weight: float = 0.5
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.PSEUDO, Offer.STRONG})

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.kl_weight >= 0, "algorithm.kl_weight", self.kl_weight, "a loss weight, 0 or more")
        require(self.rot_weight >= 0, "algorithm.rot_weight", self.rot_weight, "a loss weight, 0 or more")


@dataclass
class UsadtmAlgorithm(AlgorithmConfig):
    """USADTM: labels by the nearest class prototype. They are no distribution, so no slot may change them."""

    threshold: float = 0.85  # a cosine
    mi_weight: float = 0.1
    warmup: float = 0.002  # pseudo-labels count from this fraction of train.steps on
    mi_start: float = 0.0  # the mutual-information loss acts from this fraction of train.steps on (Q42)
    ema_prototypes: bool = False  # prototypes of the EMA encoder's features, not of the student's (Q42)
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS})

    def __post_init__(self) -> None:
        require(-1 <= self.threshold <= 1, "algorithm.threshold", self.threshold, "a cosine between -1 and 1")
        require(self.mi_weight >= 0, "algorithm.mi_weight", self.mi_weight, "a loss weight, 0 or more")
        require(0 <= self.warmup <= 1, "algorithm.warmup", self.warmup, "a fraction of train.steps")
        require(0 <= self.mi_start <= 1, "algorithm.mi_start", self.mi_start, "a fraction of train.steps")


@dataclass
class RetrainAlgorithm(AlgorithmConfig):
    """The classifier alone, on a frozen encoder: the second stage of a run, never chosen by name."""

    bn: FrozenBn = FrozenBn.official


ALGORITHMS: dict[str, type[AlgorithmConfig]] = {
    "supervised": SupervisedAlgorithm,
    "pseudolabel": PseudoLabelAlgorithm,
    "meanteacher": MeanTeacherAlgorithm,
    "mixmatch": MixMatchAlgorithm,
    "remixmatch": ReMixMatchAlgorithm,
    "usadtm": UsadtmAlgorithm,
    "fixmatch": FixMatchAlgorithm,
}
