"""Methods that bring classifiers of their own, of which one answers: one dataclass per option of `debias`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from daso.schema.base import Reader, read_by, require
from daso.schema.debias import TWO_PRIORS, DebiasConfig, debias_of, parse_weight, starts
from daso.schema.record import Offer, option

if TYPE_CHECKING:
    from daso.schema.run import Config

FOLLOWS_LABELED = "its pseudo-labels assume that the standard classifier has the class distribution of the labels"


class Assumed(Enum):
    """What SC-SSL takes the unlabeled classes to be like. All but the first are its anchors, in their order."""

    estimate = "estimate"  # as the anchor that predictions are nearest to, which are made once
    labeled = "labeled"
    uniform = "uniform"
    reversed = "reversed"
    gaussian = "gaussian"
    inverse_gaussian = "inverse_gaussian"


def _heads(usual: "Callable[[Config], Any]") -> Reader:
    """Reads a knob of SC-SSL's two classifiers."""
    return Reader("debias.weight above 0", lambda c: debias_of(c).weight > 0, usual)


def _anchored(usual: "Callable[[Config], Any]") -> Reader:
    """Reads a knob of SC-SSL's thresholds, which only an anchor moves."""

    def moved(config: "Config") -> bool:
        scssl = debias_of(config)
        return bool(scssl.start < 1 or scssl.assumed is not Assumed.estimate)

    return Reader("debias.start below 1, or a debias.assumed that is none,", moved, usual)


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
    # of the logit adjustment of the answering classifier's labeled loss, and of the other one's
    tau: float = field(default=2.0, metadata=read_by(_heads(lambda c: 2.0)))
    tau_expansive: float = field(
        default=4.0,
        metadata=read_by(
            _heads(lambda c: 4.0),
            Reader("debias.weight_expansive above 0", lambda c: debias_of(c).weight_expansive > 0, lambda c: 4.0),
        ),
    )
    weight: float = 1.0  # of both classifiers' losses; 0: there is neither
    # of the expansive one's, beside that; 0: there is none
    weight_expansive: float = field(default=1.0, metadata=read_by(_heads(lambda c: 1.0)))
    # of their consistency losses, beside that
    weight_cons: float = field(default=2.0, metadata=read_by(_heads(lambda c: 2.0)))
    assumed: Assumed = field(default=Assumed.estimate, metadata=read_by(_heads(lambda c: Assumed.estimate)))
    # the unlabeled images are looked at after this fraction of train.steps; 1: never
    start: float = field(
        default=0.02,
        metadata=read_by(
            Reader(
                "debias.assumed=estimate",
                lambda c: getattr(c.debias, "assumed", None) is Assumed.estimate,
                lambda c: 0.02,
            ),
            _heads(lambda c: 0.02),
        ),
    )
    # imbalance of the anchors; 1 or less: that of the labeled images
    gamma: float = field(
        default=0.0, metadata=read_by(_heads(lambda c: c.imb.gamma_l), _anchored(lambda c: c.imb.gamma_l))
    )
    # by which a threshold falls with each step in which the bias is large
    rate: float = field(default=0.005, metadata=read_by(_heads(lambda c: 0.005), _anchored(lambda c: 0.005)))
    # what is large
    bias_above: float = field(
        default=1.0,
        metadata=read_by(
            _heads(lambda c: 1.0),
            _anchored(lambda c: 1.0),
            Reader("debias.rate above 0", lambda c: debias_of(c).rate > 0, lambda c: 1.0),
        ),
    )
    floor: float = field(default=0.0, metadata=read_by(_heads(lambda c: 0.0)))  # of the thresholds

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("tau", "tau_expansive"):
            require(getattr(self, key) >= 0, f"debias.{key}", getattr(self, key), "0 (no adjustment) or more")
        for key in ("weight", "weight_expansive", "weight_cons"):
            require(getattr(self, key) >= 0, f"debias.{key}", getattr(self, key), "a loss weight, 0 or more")
        require(0 <= self.start <= 1, "debias.start", self.start, "a fraction of train.steps")
        require(self.gamma >= 0, "debias.gamma", self.gamma, "an imbalance, or 0 for that of the labeled images")
        self.gamma = max(self.gamma, 1.0)  # all of them mean the same
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


def _of_contrast(usual: Any, *others: Reader) -> dict[str, Any]:
    """The metadata of a knob of CCL's contrastive losses."""
    said = "debias.weight below 1, or debias.smooth_weight above 0,"
    return read_by(Reader(said, lambda c: debias_of(c).contrastive, lambda c: usual), *others)


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
    tau: float = field(
        default=2.0, metadata=read_by(Reader("debias.balanced=true", lambda c: debias_of(c).balanced, lambda c: 2.0))
    )
    temperature: float = 1.0  # of pseudo-labels
    energy: float = -8.75  # pseudo-labels of at most this energy tell of the unlabeled prior
    start: float = 0.012  # the priors move from this fraction of train.steps on
    # steps between two changes of the priors
    every: int = field(default=500, metadata=read_by(starts(lambda c: c.train.period)))
    epoch: int = 500  # steps after which a count that is not finished begins anew
    # of the unlabeled prior, at such a change, and of that of all training data
    momentum: float = field(default=0.5, metadata=read_by(starts(lambda c: 0.5)))
    momentum_all: float = field(default=0.5, metadata=read_by(starts(lambda c: 0.5)))
    balanced: bool = True  # whether there is a balanced classifier; else the standard one labels and answers
    weight: float = 0.7  # of the classification losses; the rest is the weight of the reliable contrastive loss
    # of the consistency losses among them: a number, or `ratio`, unlabeled per labeled images, at least 1.5
    unlabeled_weight: Any = field(
        default="ratio",
        metadata=read_by(Reader("debias.weight above 0", lambda c: debias_of(c).weight > 0, lambda c: "ratio")),
    )
    smooth_weight: float = 1.0  # of the smoothed contrastive loss
    contrast_temperature: float = field(default=0.1, metadata=_of_contrast(0.1))
    # of likeness between images of a batch
    graph_temperature: float = field(
        default=1.0,
        metadata=_of_contrast(1.0, Reader("debias.share above 0", lambda c: debias_of(c).share > 0, lambda c: 1.0)),
    )
    # of a smoothed label that comes from like images of the batch
    share: float = field(default=0.2, metadata=_of_contrast(0.2))
    # power of the labels that contrastive losses are trained towards; 1 leaves them
    sharpen: float = field(default=4.0, metadata=_of_contrast(4.0))
    centres: Centres = field(default=Centres.floor, metadata=_of_contrast(Centres.floor))
    contrast_prior: ContrastPrior = field(default=ContrastPrior.none, metadata=_of_contrast(ContrastPrior.none))

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


def _of_second(usual: float, *others: Reader) -> dict[str, Any]:
    """The metadata of a knob of CoSSL's balanced classifier."""
    return read_by(Reader("debias.start below 1", lambda c: debias_of(c).start < 1, lambda c: usual), *others)


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
    # steps of its warm-up, which are none of train.steps, as a fraction of them
    warm: float = field(default=0.02, metadata=_of_second(0.02))
    lr: float = field(default=0.002, metadata=_of_second(0.002))  # of its Adam
    weight_decay: float = field(default=5e-4, metadata=_of_second(5e-4))  # of its weight, in the gradient
    ema_decay: float = field(default=0.999, metadata=_of_second(0.999))  # of its average
    # of the Beta distribution of the warm-up's mixing
    alpha: float = field(
        default=0.75,
        metadata=_of_second(0.75, Reader("debias.warm above 0", lambda c: debias_of(c).warm > 0, lambda c: 0.75)),
    )
    # the smallest share of its own that a mixed feature keeps after it
    least: float = field(default=0.6, metadata=_of_second(0.6))

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.start <= 1, "debias.start", self.start, "a fraction of train.steps")
        require(0 <= self.warm <= 10, "debias.warm", self.warm, "a fraction of train.steps, 10 at most")
        require(self.lr > 0, "debias.lr", self.lr, "a positive learning rate")
        require(self.weight_decay >= 0, "debias.weight_decay", self.weight_decay, "0 or more")
        require(0 <= self.ema_decay < 1, "debias.ema_decay", self.ema_decay, "0 or more and below 1")
        require(self.alpha > 0, "debias.alpha", self.alpha, "a positive parameter of the Beta distribution")
        require(0 <= self.least <= 1, "debias.least", self.least, "a share, 0 to 1 (no mixing)")
