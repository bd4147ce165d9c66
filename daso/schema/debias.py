"""Methods that take the class prior out of pseudo-labels, or put another one in: one dataclass per option."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from daso.schema.base import Reader, phases_differ, read_by, require, require_one_of
from daso.schema.record import NONE, OPTIONS, Offer, Record, option

if TYPE_CHECKING:
    from daso.schema.run import Config

TWO_PRIORS = "both correct pseudo-labels by an estimate of the class distribution"


def debias_of(config: "Config") -> Any:
    """The node, whichever option it holds."""
    return config.debias


def starts(usual: "Callable[[Config], Any]") -> Reader:
    """Reads a knob of what begins at `debias.start`."""

    def within(config: "Config") -> bool:
        return bool(debias_of(config).start < 1 or phases_differ(config))

    return Reader("debias.start below 1", within, usual)


@option("debias", NONE)
@dataclass
class DebiasConfig(Record):
    """`none`: pseudo-labels from the logits as they are; the base of all others."""

    name: str = NONE

    def __post_init__(self) -> None:
        require_one_of("debias.name", self.name, tuple(OPTIONS["debias"]))


class Blank(Enum):
    """The image without a pattern, in the network's input space."""

    ones = "ones"  # 1 after normalisation, a light gray: what the published code calls white
    white = "white"  # the brightest pixel, normalised
    zeros = "zeros"  # the mean pixel of the data set


class BlankBn(Enum):
    """How the trained network normalises the blank image."""

    own = "own"  # by the statistics of that one image
    running = "running"  # by the running statistics, as at test time


@option("debias", "cdmad")
@dataclass
class CdmadDebias(DebiasConfig):
    """CDMAD (Lee & Kim, CVPR 2024): the logits of an image without a pattern are taken off."""

    part: ClassVar[str] = "daso.slots.cdmad.Cdmad"
    printed: ClassVar[str] = "CDMAD"
    places: ClassVar[frozenset[str]] = frozenset({"adjust", "posthoc"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.PSEUDO})
    apart: ClassVar[Mapping[str, str]] = {
        "algorithm=meanteacher": "its pseudo-labels are the average network's, but the bias is measured on the other",
        "abc": "the second head makes pseudo-labels of its own, from which no bias is taken",
    }
    name: str = "cdmad"
    start: float = 0.202  # pseudo-labels are corrected from this fraction of train.steps on
    blank: Blank = Blank.ones
    blank_bn: BlankBn = BlankBn.own
    blank_moves_stats: bool = False  # the blank image, too, moves the running statistics, as in the published code
    at_test: bool = True  # predictions are corrected too

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.start <= 1, "debias.start", self.start, "a fraction of train.steps")
        right = "running statistics that normalise the blank image stay as they are, so false, or debias.blank_bn=own"
        moved = self.blank_moves_stats and self.blank_bn is BlankBn.running
        require(not moved, "debias.blank_moves_stats", self.blank_moves_stats, right)


class Centroids(Enum):
    """By which class an image is put into a group of DebiasPL's cross-level discrimination."""

    least = "least"  # the least likely: what the published code does, probably by a slip
    most = "most"


@option("debias", "debiaspl")
@dataclass
class DebiasPlDebias(DebiasConfig):
    """DebiasPL (Wang et al., CVPR 2022): the mean prediction is taken off pseudo-labels and becomes a margin."""

    part: ClassVar[str] = "daso.slots.debiaspl.DebiasPl"
    printed: ClassVar[str] = "DebiasPL"
    places: ClassVar[frozenset[str]] = frozenset({"adjust", "offset"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.PSEUDO, Offer.CONFIDENCE, Offer.STRONG})
    apart: ClassVar[Mapping[str, str]] = {"align": TWO_PRIORS}
    name: str = "debiaspl"
    strength: float = 0.5  # t, of both corrections
    momentum: float = 0.999  # of the mean prediction
    cld_weight: float = 0.0  # of cross-level discrimination
    cld_by: Centroids = field(
        default=Centroids.least,
        metadata=read_by(
            Reader("debias.cld_weight above 0", lambda c: debias_of(c).cld_weight > 0, lambda c: Centroids.least)
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.strength >= 0, "debias.strength", self.strength, "0 (no correction) or more")
        require(0 <= self.momentum < 1, "debias.momentum", self.momentum, "0 or more and below 1")
        require(self.cld_weight >= 0, "debias.cld_weight", self.cld_weight, "a loss weight, 0 or more")


class AllPrior(Enum):
    """What SimPro takes for the class prior of all training data."""

    visited = "visited"  # of the images that a period has seen, unlabeled ones where confident
    sizes = "sizes"  # of the labeled images and the unlabeled ones by their estimated prior, at their numbers


def _of_changes(usual: Any) -> dict[str, Any]:
    """The metadata of a knob of SimPro's priors, which change after a period."""

    def change(config: "Config") -> bool:
        return bool(debias_of(config).every < config.train.steps)

    return read_by(Reader("debias.every below train.steps", change, lambda c: usual))


@option("debias", "simpro")
@dataclass
class SimProDebias(DebiasConfig):
    """SimPro (Du, Han & Huang, ICML 2024): the unlabeled prior is estimated, and put on the logits."""

    part: ClassVar[str] = "daso.slots.simpro.SimPro"
    printed: ClassVar[str] = "SimPro"
    periodic: ClassVar[bool] = True
    places: ClassVar[frozenset[str]] = frozenset({"adjust", "offset", "supervised"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.CONFIDENCE, Offer.STRONG})
    apart: ClassVar[Mapping[str, str]] = {
        "align": TWO_PRIORS,
        "darp": TWO_PRIORS,
        "abc": "the second head's losses know nothing of the priors",
    }
    name: str = "simpro"
    tau: float = 2.0  # strength of the priors
    every: int = 500  # steps between two changes of the priors
    momentum: float = field(default=0.9, metadata=_of_changes(0.9))  # of both priors, at such a change
    prior: AllPrior = field(default=AllPrior.visited, metadata=_of_changes(AllPrior.visited))
    # of the labeled loss: a number, or `batches`, labeled batches per unlabeled batch of one pass over the data
    labeled_weight: Any = "batches"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.tau >= 0, "debias.tau", self.tau, "0 (no priors) or more")
        require(self.every >= 1, "debias.every", self.every, "a number of steps, 1 or more")
        require(0 <= self.momentum < 1, "debias.momentum", self.momentum, "0 or more and below 1")
        self.labeled_weight = parse_weight(self.labeled_weight, "labeled_weight", "batches")


def parse_weight(value: object, key: str, word: str) -> float | str:
    """Read a loss's weight: a word that says how it follows, or a number of at least 0."""
    if value == word:
        return word
    try:
        weight = float(str(value))
    except ValueError:
        weight = -1.0
    require(weight >= 0, f"debias.{key}", value, f"{word}, or a loss weight, 0 or more")
    return weight


class Anchors(Enum):
    """Which distributions ACR compares its estimate with."""

    three = "three"  # labeled, uniform, reversed
    none = "none"  # none: the strength stays at its largest


class ReversedBy(Enum):
    """How the labeled prior is reversed."""

    index = "index"  # the classes' order is turned round
    rank = "rank"  # the rarest class gets what the most frequent one has, and so on


class EstimateBy(Enum):
    """What a batch says about the unlabeled prior."""

    presence = "presence"  # which classes are there, by the last label of each, as in the published code
    counts = "counts"  # how many confident labels each class has


def _of_balanced(usual: Any, *others: Reader) -> dict[str, Any]:
    """The metadata of a knob of ACR's balanced classifier, of whose labels the estimate is made."""
    return read_by(Reader("debias.weight above 0", lambda c: debias_of(c).weight > 0, lambda c: usual), *others)


def _of_moving(usual: Any) -> dict[str, Any]:
    """The metadata of a knob of ACR's estimate."""
    return _of_balanced(usual, starts(lambda c: usual))


def _of_estimate(usual: "Callable[[Config], Any]", *others: Reader) -> dict[str, Any]:
    """The metadata of a knob that says when ACR's strength follows: where there is an estimate, or it is compared."""

    def follows(config: "Config") -> bool:
        acr = debias_of(config)
        return bool(acr.weight > 0 or (acr.tau > 0 and acr.anchors is Anchors.three))

    return read_by(Reader("debias.weight above 0, or a debias.tau that has anchors,", follows, usual), *others)


@option("debias", "acr")
@dataclass
class AcrDebias(DebiasConfig):
    """ACR (Wei & Gan, CVPR 2023): adaptive consistency of two classifiers, of which the balanced one answers."""

    part: ClassVar[str] = "daso.slots.acr.Acr"
    reads_threshold: ClassVar[bool] = True
    printed: ClassVar[str] = "ACR"
    periodic: ClassVar[bool] = True
    places: ClassVar[frozenset[str]] = frozenset({"adjust", "confidence", "predict"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.CONFIDENCE, Offer.STRONG})
    apart: ClassVar[Mapping[str, str]] = {"align": TWO_PRIORS, "darp": TWO_PRIORS}
    name: str = "acr"
    tau: float = 2.0  # the largest strength of the adjustment that trains the standard classifier
    # of the adjustment whose labels train the balanced one, and of the logit adjustment of that one's labeled loss
    tau_fixed: float = field(default=2.0, metadata=_of_balanced(2.0))
    tau_labeled: float = field(default=2.0, metadata=_of_balanced(2.0))
    temperature: float = 1.0  # of pseudo-labels
    # steps between two changes of the strength
    every: int = field(default=500, metadata=_of_estimate(lambda c: c.train.period, starts(lambda c: c.train.period)))
    momentum: float = field(default=0.99, metadata=_of_moving(0.99))  # of the estimated unlabeled prior
    # the estimate moves from this fraction of train.steps on
    start: float = field(default=0.012, metadata=_of_estimate(lambda c: 0.012))
    weight: float = 1.0  # of the balanced classifier's losses; 0: there is none
    anchors: Anchors = field(
        default=Anchors.three,
        metadata=read_by(
            Reader("debias.tau above 0", lambda c: debias_of(c).tau > 0, lambda c: Anchors.three),
            starts(lambda c: Anchors.three),
        ),
    )
    reversed_by: ReversedBy = field(default=ReversedBy.index, metadata=_of_moving(ReversedBy.index))
    estimate_by: EstimateBy = field(default=EstimateBy.presence, metadata=_of_moving(EstimateBy.presence))

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("tau", "tau_fixed", "tau_labeled"):
            require(getattr(self, key) >= 0, f"debias.{key}", getattr(self, key), "0 (no adjustment) or more")
        require(self.temperature > 0, "debias.temperature", self.temperature, "a positive temperature")
        require(self.every >= 1, "debias.every", self.every, "a number of steps, 1 or more")
        require(0 <= self.momentum < 1, "debias.momentum", self.momentum, "0 or more and below 1")
        require(0 <= self.start <= 1, "debias.start", self.start, "a fraction of train.steps")
        require(self.weight >= 0, "debias.weight", self.weight, "a loss weight, 0 or more")
