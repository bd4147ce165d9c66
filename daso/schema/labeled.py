"""The labeled loss: one dataclass per option."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

from daso.schema.base import Reader, read_by, require, require_one_of
from daso.schema.protocol import require_beta
from daso.schema.record import OPTIONS, Offer, Record, option

if TYPE_CHECKING:
    from daso.schema.run import Config


@option("supervised", "ce")
@dataclass
class SupervisedLossConfig(Record):
    """`ce`: plain cross-entropy; the base of all labeled losses."""

    absent: ClassVar[str] = "ce"
    part: ClassVar[str] = "daso.slots.supervised.CrossEntropy"
    places: ClassVar[frozenset[str]] = frozenset({"supervised"})
    name: str = "ce"

    def __post_init__(self) -> None:
        require_one_of("supervised.name", self.name, tuple(OPTIONS["supervised"]))


@option("supervised", "la")
@dataclass
class LogitAdjustedLoss(SupervisedLossConfig):
    """Logit adjustment (Menon et al. 2021; paper App. C.3): tau * log prior is added to the labeled logits."""

    part: ClassVar[str] = "daso.slots.supervised.LogitAdjusted"
    printed: ClassVar[str] = "LA"
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS})
    name: str = "la"
    tau: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.tau >= 0, "supervised.tau", self.tau, "0 (plain cross-entropy) or more")


def _deferred(config: "Config") -> bool:
    """Whether anything changes late in training."""
    loss = cast(Any, config.supervised)
    return bool(loss.beta > 0 or not getattr(loss, "margins_at_once", True))


def _defers(config: "Config") -> bool:
    """Whether margins may come late; where weights change nothing, the margins alone tell when."""
    loss = cast(Any, config.supervised)
    return bool(loss.defer > 0 or loss.beta == 0)


@option("supervised", "cb")
@dataclass
class ClassBalancedLoss(SupervisedLossConfig):
    """Classes weighed by their effective number (Cui et al. 2019), late in training."""

    part: ClassVar[str] = "daso.slots.reweighting.ClassBalanced"
    printed: ClassVar[str] = "CB"
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS})
    name: str = "cb"
    beta: float = 0.999  # a class weighs (1 - beta) / (1 - beta^n_c)
    # weights from this fraction of train.steps on
    defer: float = field(
        default=0.8,
        metadata=read_by(Reader("supervised.beta above 0, or deferred margins,", _deferred, lambda c: 0.8)),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_beta("supervised.beta", self.beta)
        require(0 <= self.defer <= 1, "supervised.defer", self.defer, "a fraction of train.steps")


@option("supervised", "ldam_drw")
@dataclass
class MarginBalancedLoss(ClassBalancedLoss):
    """LDAM-DRW (Cao et al. 2019): a margin per class, and the weights of `cb`."""

    part: ClassVar[str] = "daso.slots.reweighting.MarginBalanced"
    printed: ClassVar[str] = "LDAM-DRW"
    name: str = "ldam_drw"
    max_margin: float = 0.5
    scale: float = 30.0
    # else they are deferred too (Q18)
    margins_at_once: bool = field(
        default=False,
        metadata=read_by(Reader("supervised.defer above 0", _defers, lambda c: False)),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.max_margin >= 0, "supervised.max_margin", self.max_margin, "a margin, 0 or more")
        require(self.scale > 0, "supervised.scale", self.scale, "a positive factor of the logits")
