"""The learners' knobs, and which places of the step each opens to slots. Registered in the order of tables."""

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, cast

from daso.schema.base import Reader, read_by, require
from daso.schema.protocol import FrozenBn
from daso.schema.record import OPTIONS, Offer, Record, option

if TYPE_CHECKING:
    from daso.schema.run import Config

COMPARES = Reader(
    "a method that compares with it, beside the metric pl/*/coverage,",
    lambda config: (
        config.confidence.reads_threshold
        or any(node.reads_threshold for node in config.records.values() if node.name != node.absent)
    ),
)


@dataclass
class AlgorithmConfig(Record):
    """A learner. Subclasses add its knobs; `offers` says which slots compose with it."""

    name: str
    absent: ClassVar[str] = ""  # there always is one
    reads_unlabeled: ClassVar[bool] = True
    offers: ClassVar[frozenset[Offer]] = frozenset()
    strong_views_seen: ClassVar[bool] = True  # whether it trains on strong views of any image
    rebalances: ClassVar[bool] = False  # whether it is a method of imbalanced learning by itself
    unlabeled_ratio: ClassVar[int] = 1  # the paper's mu (Table 10), the default of train.mu


@option("algorithm", "supervised")
@dataclass
class SupervisedAlgorithm(AlgorithmConfig):
    """The labeled images alone."""

    part: ClassVar[str] = "daso.learners.supervised.Supervised"
    strong_views_seen: ClassVar[bool] = False
    printed: ClassVar[str] = "Supervised"
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS})
    reads_unlabeled: ClassVar[bool] = False


class RampShape(Enum):
    """How a consistency weight grows to its full size."""

    linear = "linear"  # x
    exp = "exp"  # exp(-5 (1 - x)^2)


def _weighs(config: "Config") -> bool:
    """Whether a loss that ramps up counts."""
    return any(getattr(config.algorithm, name, 0) > 0 for name in ("cons_weight", "kl_weight"))


def _ramps(name: str) -> dict[str, Any]:
    """The metadata of a knob of the ramp-up, which is the learner's own where nobody sets it."""
    return read_by(
        Reader("a loss that ramps up, of a weight above 0,", _weighs, lambda c: getattr(type(c.algorithm), name))
    )


@dataclass
class RampedAlgorithm(AlgorithmConfig):
    """A learner whose consistency loss grows to its weight over the first `ramp_up` of a phase."""

    cons_weight: float = 1.0
    ramp_up: float = field(default=0.4, metadata=_ramps("ramp_up"))
    ramp_shape: RampShape = field(default=RampShape.linear, metadata=_ramps("ramp_shape"))

    def __post_init__(self) -> None:
        require(self.cons_weight >= 0, "algorithm.cons_weight", self.cons_weight, "a loss weight, 0 or more")
        require(0 < self.ramp_up <= 1, "algorithm.ramp_up", self.ramp_up, "a fraction of train.steps above 0")


@option("algorithm", "pseudolabel")
@dataclass
class PseudoLabelAlgorithm(RampedAlgorithm):
    """Pseudo-Label: confident pseudo-labels of a weak view train that view."""

    threshold: float = field(default=0.95, metadata=read_by(COMPARES))
    part: ClassVar[str] = "daso.learners.pseudolabel.PseudoLabel"
    strong_views_seen: ClassVar[bool] = False
    printed: ClassVar[str] = "PseudoLabel"
    offers: ClassVar[frozenset[Offer]] = frozenset(
        {Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.THRESHOLD, Offer.CONFIDENCE, Offer.WEIGHTS}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.threshold <= 1, "algorithm.threshold", self.threshold, "a confidence between 0 and 1")


@option("algorithm", "meanteacher")
@dataclass
class MeanTeacherAlgorithm(RampedAlgorithm):
    """Mean Teacher: the student's predictions follow its moving average's."""

    cons_weight: float = 50.0
    part: ClassVar[str] = "daso.learners.meanteacher.MeanTeacher"
    strong_views_seen: ClassVar[bool] = False
    printed: ClassVar[str] = "MeanTeacher"
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS, Offer.PSEUDO})


@option("algorithm", "mixmatch")
@dataclass
class MixMatchAlgorithm(RampedAlgorithm):
    """MixMatch: sharpened guesses and MixUp. Labeled images are seen mixed only, so no slot may fill their loss."""

    cons_weight: float = 100.0
    ramp_up: float = field(default=0.016, metadata=_ramps("ramp_up"))
    temperature: float = 0.5
    alpha: float = 0.5
    part: ClassVar[str] = "daso.learners.mixmatch.MixMatch"
    strong_views_seen: ClassVar[bool] = False
    printed: ClassVar[str] = "MixMatch"
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.PSEUDO})

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.temperature > 0, "algorithm.temperature", self.temperature, "a positive temperature")
        require(self.alpha > 0, "algorithm.alpha", self.alpha, "a positive parameter of the Beta distribution")


class LabeledViews(Enum):
    """Which views of the labeled images are trained on. ReMixMatch mixes the strong one, if there is one."""

    weak = "weak"
    weak_strong = "weak_strong"


@option("algorithm", "remixmatch")
@dataclass
class ReMixMatchAlgorithm(MixMatchAlgorithm):
    """ReMixMatch: a weak view labels two strong ones; pre-mixup and rotation losses beside MixMatch's."""

    cons_weight: float = 1.5
    alpha: float = 0.75
    kl_weight: float = 0.5
    rot_weight: float = 0.5
    floor: float = field(default=0.0, metadata={"neutral": 0.0})  # added to probabilities inside logarithms
    labeled_views: LabeledViews = field(default=LabeledViews.weak, metadata={"neutral": LabeledViews.weak})
    part: ClassVar[str] = "daso.learners.remixmatch.ReMixMatch"
    strong_views_seen: ClassVar[bool] = True
    printed: ClassVar[str] = "ReMixMatch"
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.PSEUDO, Offer.STRONG, Offer.WEIGHTS})

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.kl_weight >= 0, "algorithm.kl_weight", self.kl_weight, "a loss weight, 0 or more")
        require(self.rot_weight >= 0, "algorithm.rot_weight", self.rot_weight, "a loss weight, 0 or more")
        require(0 <= self.floor < 1, "algorithm.floor", self.floor, "0 (plain cross entropy) or a small number")


@option("algorithm", "usadtm")
@dataclass
class UsadtmAlgorithm(AlgorithmConfig):
    """USADTM: labels by the nearest class prototype. They are no distribution, so no slot may change them."""

    threshold: float = 0.85  # a cosine
    mi_weight: float = 0.1
    warmup: float = 0.002  # pseudo-labels count from this fraction of train.steps on
    # the mutual-information loss acts from this fraction of train.steps on (Q42)
    mi_start: float = field(
        default=0.0,
        metadata=read_by(
            Reader("algorithm.mi_weight above 0", lambda c: cast(Any, c.algorithm).mi_weight > 0, lambda c: 0.0)
        ),
    )
    ema_prototypes: bool = False  # prototypes of the EMA encoder's features, not of the student's (Q42)
    part: ClassVar[str] = "daso.learners.usadtm.Usadtm"
    printed: ClassVar[str] = "USADTM"
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS})

    def __post_init__(self) -> None:
        require(-1 <= self.threshold <= 1, "algorithm.threshold", self.threshold, "a cosine between -1 and 1")
        require(self.mi_weight >= 0, "algorithm.mi_weight", self.mi_weight, "a loss weight, 0 or more")
        require(0 <= self.warmup <= 1, "algorithm.warmup", self.warmup, "a fraction of train.steps")
        require(0 <= self.mi_start <= 1, "algorithm.mi_start", self.mi_start, "a fraction of train.steps")


class PseudoLabels(Enum):
    """What a strong view is trained towards."""

    hard = "hard"  # the most likely class
    soft = "soft"  # the distribution


@option("algorithm", "fixmatch")
@dataclass
class FixMatchAlgorithm(AlgorithmConfig):
    """FixMatch: confident pseudo-labels of a weak view train a strong one."""

    threshold: float = field(default=0.95, metadata=read_by(COMPARES))
    # what later methods changed of the base that they build on
    strong_views: int = field(default=1, metadata={"neutral": 1})  # of an unlabeled image, with one pseudo-label
    labels: PseudoLabels = field(default=PseudoLabels.hard, metadata={"neutral": PseudoLabels.hard})
    labeled_views: LabeledViews = field(default=LabeledViews.weak, metadata={"neutral": LabeledViews.weak})
    floor: float = field(default=0.0, metadata={"neutral": 0.0})  # added to probabilities inside logarithms
    part: ClassVar[str] = "daso.learners.fixmatch.FixMatch"
    printed: ClassVar[str] = "FixMatch"
    offers: ClassVar[frozenset[Offer]] = frozenset(
        {
            *(Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.THRESHOLD, Offer.CONFIDENCE, Offer.STRONG, Offer.WEIGHTS),
            *(Offer.FURTHER, Offer.SOURCE),
        }
    )
    unlabeled_ratio: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "algorithm.threshold", self.threshold, "a confidence between 0 and 1")
        require(self.strong_views in (1, 2), "algorithm.strong_views", self.strong_views, "1 or 2")
        require(0 <= self.floor < 1, "algorithm.floor", self.floor, "0 (plain cross entropy) or a small number")


@option("algorithm", "cpe")
@dataclass
class CpeAlgorithm(AlgorithmConfig):
    """CPE (Ma et al., AAAI 2024): FixMatch with three classifiers, and three normalisations of the features."""

    threshold: float = 0.95
    # of the logit adjustment of each classifier's labeled loss; the second one answers
    taus: list[float] = field(default_factory=lambda: [0.0, 2.0, 4.0])
    # shares of the classes, most images first, that the normalisation of medium and tail classes leaves out
    medium_from: float = 0.2
    tail_from: float = 0.4
    part: ClassVar[str] = "daso.learners.cpe.Cpe"
    printed: ClassVar[str] = "CPE"
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.THRESHOLD, Offer.STRONG})
    rebalances: ClassVar[bool] = True
    unlabeled_ratio: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "algorithm.threshold", self.threshold, "a confidence between 0 and 1")
        right = "three strengths of logit adjustment, 0 or more each"
        require(len(self.taus) == 3 and min(self.taus) >= 0, "algorithm.taus", self.taus, right)
        right = "a share of the classes, 0 to 1"
        require(0 <= self.medium_from <= 1, "algorithm.medium_from", self.medium_from, right)
        right = f"a share of the classes from algorithm.medium_from={self.medium_from:g} to 1"
        require(self.medium_from <= self.tail_from <= 1, "algorithm.tail_from", self.tail_from, right)


@dataclass
class RetrainAlgorithm(AlgorithmConfig):
    """The classifier alone, on a frozen encoder: the second stage of a run, never chosen by name."""

    bn: FrozenBn = FrozenBn.official
    part: ClassVar[str] = "daso.learners.retrain.Retrain"
    strong_views_seen: ClassVar[bool] = False
    reads_unlabeled: ClassVar[bool] = False


ALGORITHMS = cast(dict[str, type[AlgorithmConfig]], OPTIONS["algorithm"])
"""Learner -> its configuration."""
