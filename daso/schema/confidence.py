"""Which pseudo-labels a thresholded consistency loss is trained with: one dataclass per option."""

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, cast

from daso.schema.base import Reader, read_by, require, require_one_of
from daso.schema.record import NONE, OPTIONS, Offer, Record, option

if TYPE_CHECKING:
    from daso.schema.run import Config


@option("confidence", NONE)
@dataclass
class ConfidenceConfig(Record):
    """`none`: those above the learner's threshold; the base of all others."""

    reads_threshold: ClassVar[bool] = True
    name: str = NONE

    def __post_init__(self) -> None:
        require_one_of("confidence.name", self.name, tuple(OPTIONS["confidence"]))


@option("confidence", "boss")
@dataclass
class BossConfidence(ConfidenceConfig):
    """BOSS's balancing of pseudo-labels (Smith & Conovaloff 2020; paper App. C.3): a threshold per class."""

    part: ClassVar[str] = "daso.slots.boss.Boss"
    printed: ClassVar[str] = "BOSS"
    places: ClassVar[frozenset[str]] = frozenset({"confidence"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.THRESHOLD})  # it has no state
    name: str = "boss"
    delta: float = 0.25  # how far the threshold of the rarest pseudo-label is lowered

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.delta <= 1, "confidence.delta", self.delta, "0 (one threshold for all classes) to 1")


def _require_momentum(value: float) -> None:
    require(0 <= value <= 1, "confidence.momentum", value, "0 to 1 (nothing moves)")


def _of_averages(usual: Any) -> dict[str, Any]:
    """The metadata of a knob of averages that move."""
    moves = Reader("confidence.momentum below 1", lambda c: cast(Any, c.confidence).momentum < 1, lambda c: usual)
    return read_by(moves)


@option("confidence", "freematch")
@dataclass
class FreeMatchConfidence(ConfidenceConfig):
    """FreeMatch (Wang et al., ICLR 2023): thresholds by the mean confidence and prediction, and a fairness loss."""

    part: ClassVar[str] = "daso.slots.freematch.FreeMatch"
    printed: ClassVar[str] = "FreeMatch"
    places: ClassVar[frozenset[str]] = frozenset({"confidence"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.CONFIDENCE})
    reads_threshold: ClassVar[bool] = False
    name: str = "freematch"
    momentum: float = 0.999  # of all averages
    fair_weight: float = 0.01  # of the fairness loss; negative turns it round
    # to what is clipped, as on SVHN: `sample` each threshold to 0.9..0.95, `global` the mean confidence to at most 0.95
    clip: str = "none"
    # of the batch's confidences, in place of their mean; 0: the mean
    quantile: float = field(default=0.0, metadata=_of_averages(0.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_momentum(self.momentum)
        require_one_of("confidence.clip", self.clip, ("none", "sample", "global"))
        require(0 <= self.quantile <= 1, "confidence.quantile", self.quantile, "0 (the mean) to 1")


def _of_threshold(usual: Any) -> dict[str, Any]:
    """The metadata of a knob that moves the learner's threshold by shares of it."""
    positive = Reader("algorithm.threshold above 0", lambda c: cast(Any, c.algorithm).threshold > 0, lambda c: usual)
    return read_by(positive)


@option("confidence", "flexmatch")
@dataclass
class FlexMatchConfidence(ConfidenceConfig):
    """FlexMatch (Zhang et al., NeurIPS 2021): thresholds by how many images each class has learned."""

    part: ClassVar[str] = "daso.slots.flexmatch.FlexMatch"
    printed: ClassVar[str] = "FlexMatch"
    places: ClassVar[frozenset[str]] = frozenset({"confidence"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.CONFIDENCE})
    name: str = "flexmatch"
    # classes are also measured by the images that never had a confident label
    warmup: bool = field(default=True, metadata=_of_threshold(True))
    # from what a class has learned to its share of the threshold: convex, linear, low, concave
    map: str = field(default="convex", metadata=_of_threshold("convex"))

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("confidence.map", self.map, ("convex", "linear", "low", "concave"))


@option("confidence", "softmatch")
@dataclass
class SoftMatchConfidence(ConfidenceConfig):
    """SoftMatch (Chen et al., ICLR 2023): every pseudo-label, weighed by a Gaussian of its confidence."""

    part: ClassVar[str] = "daso.slots.softmatch.SoftMatch"
    printed: ClassVar[str] = "SoftMatch"
    places: ClassVar[frozenset[str]] = frozenset({"confidence"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.CONFIDENCE})
    reads_threshold: ClassVar[bool] = False
    name: str = "softmatch"
    momentum: float = 0.999  # of all averages
    # the Gaussian's deviation is that of the confidences, divided by this
    n_sigma: float = field(default=2.0, metadata=_of_averages(2.0))
    # what confidences are aligned to; or labeled_ema, the mean prediction of labeled images
    goal: str = field(default="uniform", metadata=_of_averages("uniform"))
    per_class: bool = False  # mean and variance of each class apart

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_momentum(self.momentum)
        require(self.n_sigma > 0, "confidence.n_sigma", self.n_sigma, "a positive number")
        require_one_of("confidence.goal", self.goal, ("uniform", "labeled_ema"))


class SurveyedBy(Enum):
    """Which network looks at the unlabeled set."""

    student = "student"  # the trained one
    teacher = "teacher"  # its moving average


def _of_looks(usual: Any) -> dict[str, Any]:
    """The metadata of a knob of looks at the unlabeled set, of which the first comes after two periods."""

    def looks(config: "Config") -> bool:
        return bool(2 * cast(Any, config.confidence).every < config.train.steps)

    return read_by(Reader("a confidence.every below half of train.steps", looks, lambda c: usual))


@option("confidence", "adsh")
@dataclass
class AdshConfidence(ConfidenceConfig):
    """Adsh (Guo & Li, ICML 2022): thresholds that keep the same share of every class, by a look at all images."""

    part: ClassVar[str] = "daso.slots.adsh.Adsh"
    printed: ClassVar[str] = "Adsh"
    periodic: ClassVar[bool] = True
    places: ClassVar[frozenset[str]] = frozenset({"confidence"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.CONFIDENCE})
    name: str = "adsh"
    every: int = 500  # steps between two looks; the first is after two periods
    net: SurveyedBy = field(default=SurveyedBy.student, metadata=_of_looks(SurveyedBy.student))
    view: str = field(default="identity", metadata=_of_looks("identity"))  # what it looks at; or weak
    # without a confident image of the head class thresholds stay, rather than fall to the least
    safe: bool = field(default=False, metadata=_of_looks(False))

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.every >= 1, "confidence.every", self.every, "a number of steps, 1 or more")
        require_one_of("confidence.view", self.view, ("identity", "weak"))

    def remarks(self, steps: int) -> list[str]:
        """A run without a look."""
        if 2 * self.every < steps:
            return []
        return [
            f"Adsh never looks at the unlabeled images in this run, and is the learner alone: two periods of "
            f"confidence.every={self.every} are not below {steps} steps."
        ]
