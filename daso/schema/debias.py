"""Methods that take the class prior out of pseudo-labels, or put another one in: one dataclass per option."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, cast

from daso.schema.base import Reader, read_by, require, require_one_of
from daso.schema.record import NONE, OPTIONS, Offer, Record, option

FOLLOWS_LABELED = "its pseudo-labels assume that the standard classifier has the class distribution of the labels"
TWO_PRIORS = "both correct pseudo-labels by an estimate of the class distribution"


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
            Reader("debias.cld_weight above 0", lambda c: cast(Any, c.debias).cld_weight > 0, lambda c: Centroids.least)
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
    momentum: float = 0.9  # of both priors, at such a change
    prior: AllPrior = AllPrior.visited
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


def _of_balanced(usual: Any) -> dict[str, Any]:
    """The metadata of a knob of ACR's balanced classifier, of whose labels the estimate is made."""
    return read_by(Reader("debias.weight above 0", lambda c: cast(Any, c.debias).weight > 0, lambda c: usual))


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
    every: int = 500  # steps between two changes of the strength
    momentum: float = field(default=0.99, metadata=_of_balanced(0.99))  # of the estimated unlabeled prior
    start: float = 0.012  # the estimate moves from this fraction of train.steps on
    weight: float = 1.0  # of the balanced classifier's losses; 0: there is none
    anchors: Anchors = Anchors.three
    reversed_by: ReversedBy = ReversedBy.index
    estimate_by: EstimateBy = field(default=EstimateBy.presence, metadata=_of_balanced(EstimateBy.presence))

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("tau", "tau_fixed", "tau_labeled"):
            require(getattr(self, key) >= 0, f"debias.{key}", getattr(self, key), "0 (no adjustment) or more")
        require(self.temperature > 0, "debias.temperature", self.temperature, "a positive temperature")
        require(self.every >= 1, "debias.every", self.every, "a number of steps, 1 or more")
        require(0 <= self.momentum < 1, "debias.momentum", self.momentum, "0 or more and below 1")
        require(0 <= self.start <= 1, "debias.start", self.start, "a fraction of train.steps")
        require(self.weight >= 0, "debias.weight", self.weight, "a loss weight, 0 or more")


class Assumed(Enum):
    """What SC-SSL takes the unlabeled classes to be like. All but the first are its anchors, in their order."""

    estimate = "estimate"  # as the anchor that predictions are nearest to, which are made once
    labeled = "labeled"
    uniform = "uniform"
    reversed = "reversed"
    gaussian = "gaussian"
    inverse_gaussian = "inverse_gaussian"


@option("debias", "scssl")
@dataclass
class ScSslDebias(DebiasConfig):
    """SC-SSL (Tian, Wei & Zhang, AAAI 2026): two further classifiers, thresholds by class; one answers, without its
    bias.
    """

    part: ClassVar[str] = "daso.slots.scssl.ScSsl"
    reads_threshold: ClassVar[bool] = True
    printed: ClassVar[str] = "SC-SSL"
    places: ClassVar[frozenset[str]] = frozenset({"posthoc", "predict"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.CONFIDENCE, Offer.STRONG})
    name: str = "scssl"
    tau: float = 2.0  # of the logit adjustment of the answering classifier's labeled loss
    tau_expansive: float = 4.0  # of the other one's
    weight: float = 1.0  # of both classifiers' losses; 0: there is neither
    weight_expansive: float = 1.0  # of the expansive one's, beside that; 0: there is none
    weight_cons: float = 2.0  # of their consistency losses, beside that
    assumed: Assumed = Assumed.estimate
    # the unlabeled images are looked at after this fraction of train.steps; 1: never
    start: float = field(
        default=0.02,
        metadata=read_by(
            Reader(
                "debias.assumed=estimate",
                lambda c: getattr(c.debias, "assumed", None) is Assumed.estimate,
                lambda c: 0.02,
            )
        ),
    )
    gamma: float = 0.0  # imbalance of the anchors; 1 or less: that of the labeled images
    rate: float = 0.005  # by which a threshold falls with each step in which the bias is large
    bias_above: float = 1.0  # what is large
    floor: float = 0.0  # of the thresholds

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("tau", "tau_expansive"):
            require(getattr(self, key) >= 0, f"debias.{key}", getattr(self, key), "0 (no adjustment) or more")
        for key in ("weight", "weight_expansive", "weight_cons"):
            require(getattr(self, key) >= 0, f"debias.{key}", getattr(self, key), "a loss weight, 0 or more")
        require(0 <= self.start <= 1, "debias.start", self.start, "a fraction of train.steps")
        require(self.gamma >= 0, "debias.gamma", self.gamma, "an imbalance, or 0 for that of the labeled images")
        require(0 <= self.rate <= 1, "debias.rate", self.rate, "a confidence between 0 and 1")
        require(0 <= self.floor <= 1, "debias.floor", self.floor, "a confidence between 0 and 1")


class Centres(Enum):
    """What a class's centre is labeled in CCL's contrastive losses."""

    floor = "floor"  # every class alike, as in the published code
    identity = "identity"  # its class


class ContrastPrior(Enum):
    """The class prior of CCL's contrastive posteriors."""

    none = "none"  # uniform, as in the published code
    unlabeled = "unlabeled"  # the estimate of the unlabeled images, as in the paper


@option("debias", "ccl")
@dataclass
class CclDebias(DebiasConfig):
    """CCL (Zhou, Fang et al., NeurIPS 2024): two classifiers label together; contrastive losses on soft labels."""

    part: ClassVar[str] = "daso.slots.ccl.Ccl"
    printed: ClassVar[str] = "CCL"
    periodic: ClassVar[bool] = True
    places: ClassVar[frozenset[str]] = frozenset({"adjust", "scale", "predict"})
    needs: ClassVar[frozenset[Offer]] = frozenset(
        {Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.CONFIDENCE, Offer.FURTHER, Offer.STRONG}
    )
    apart: ClassVar[Mapping[str, str]] = {
        "align": TWO_PRIORS,
        "darp": TWO_PRIORS,
        "supervised=la": FOLLOWS_LABELED,
        "supervised=cb": FOLLOWS_LABELED,
        "supervised=ldam_drw": FOLLOWS_LABELED,
    }
    name: str = "ccl"
    # strength of the priors in the balanced classifier's losses; half of it, and 1, of the unlabeled prior in labels
    tau: float = 2.0
    temperature: float = 1.0  # of pseudo-labels
    energy: float = -8.75  # pseudo-labels of at most this energy tell of the unlabeled prior
    start: float = 0.012  # the priors move from this fraction of train.steps on
    every: int = 500  # steps between two changes of the priors
    epoch: int = 500  # steps after which a count that is not finished begins anew
    momentum: float = 0.5  # of the unlabeled prior, at such a change
    momentum_all: float = 0.5  # of the prior of all training data
    balanced: bool = True  # whether there is a balanced classifier; else the standard one labels and answers
    weight: float = 0.7  # of the classification losses; the rest is the weight of the reliable contrastive loss
    # of the consistency losses among them: a number, or `ratio`, unlabeled per labeled images, at least 1.5
    unlabeled_weight: Any = "ratio"
    smooth_weight: float = 1.0  # of the smoothed contrastive loss
    contrast_temperature: float = 0.1
    graph_temperature: float = 1.0  # of likeness between images of a batch
    share: float = 0.2  # of a smoothed label that comes from like images of the batch
    sharpen: float = 4.0  # power of the labels that contrastive losses are trained towards; 1 leaves them
    centres: Centres = Centres.floor
    contrast_prior: ContrastPrior = ContrastPrior.none

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.tau >= 0, "debias.tau", self.tau, "0 (no priors) or more")
        for key in ("temperature", "contrast_temperature", "graph_temperature"):
            require(getattr(self, key) > 0, f"debias.{key}", getattr(self, key), "a positive temperature")
        require(0 <= self.start <= 1, "debias.start", self.start, "a fraction of train.steps")
        require(self.epoch >= 1, "debias.epoch", self.epoch, "a number of steps, 1 or more")
        right = f"a number of steps, 1 or more, and debias.epoch={self.epoch} at most"
        require(1 <= self.every <= self.epoch, "debias.every", self.every, right)
        for key in ("momentum", "momentum_all"):
            require(0 <= getattr(self, key) < 1, f"debias.{key}", getattr(self, key), "0 or more and below 1")
        require(0 <= self.weight <= 1, "debias.weight", self.weight, "0 to 1 (no reliable contrastive loss)")
        require(self.smooth_weight >= 0, "debias.smooth_weight", self.smooth_weight, "a loss weight, 0 or more")
        require(0 <= self.share <= 0.9, "debias.share", self.share, "0 (no smoothing) to 0.9")
        require(self.sharpen > 0, "debias.sharpen", self.sharpen, "a positive power")
        self.unlabeled_weight = parse_weight(self.unlabeled_weight, "unlabeled_weight", "ratio")
        right = "the contrastive losses need its weights, so true, or debias.weight=1 debias.smooth_weight=0"
        require(self.balanced or not self.contrastive, "debias.balanced", self.balanced, right)

    @property
    def contrastive(self) -> bool:
        """Whether there is a contrastive loss."""
        return self.smooth_weight > 0 or self.weight < 1


@option("debias", "cossl")
@dataclass
class CosslDebias(DebiasConfig):
    """CoSSL (Fan et al., CVPR 2022): a balanced classifier on the average network's features labels for the encoder."""

    part: ClassVar[str] = "daso.slots.cossl.Cossl"
    printed: ClassVar[str] = "CoSSL"
    batches_aside: ClassVar[int] = 2
    places: ClassVar[frozenset[str]] = frozenset({"adjust", "predict"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.PSEUDO, Offer.SOURCE})
    apart: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("protocol=crest", "protocol=crest_plus", "protocol=crt"), "its second phase is the end of one training"
    )
    name: str = "cossl"
    start: float = 0.8  # from this fraction of train.steps on there is a balanced classifier
    warm: float = 0.02  # steps of its warm-up, which are none of train.steps, as a fraction of them
    lr: float = 0.002  # of its Adam
    weight_decay: float = 5e-4  # of its weight, in the gradient
    ema_decay: float = 0.999  # of its average
    alpha: float = 0.75  # of the Beta distribution that mixes features for the warm-up
    least: float = 0.6  # the smallest share of its own that a mixed feature keeps after it

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.start <= 1, "debias.start", self.start, "a fraction of train.steps")
        require(0 <= self.warm <= 10, "debias.warm", self.warm, "a fraction of train.steps, 10 at most")
        require(self.lr > 0, "debias.lr", self.lr, "a positive learning rate")
        require(self.weight_decay >= 0, "debias.weight_decay", self.weight_decay, "0 or more")
        require(0 <= self.ema_decay < 1, "debias.ema_decay", self.ema_decay, "0 or more and below 1")
        require(self.alpha > 0, "debias.alpha", self.alpha, "a positive parameter of the Beta distribution")
        require(0 <= self.least <= 1, "debias.least", self.least, "a share, 0 to 1 (no mixing)")
