"""How much a class counts in the losses: one dataclass per option."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from daso.schema.base import Reader, read_by, require, require_one_of
from daso.schema.record import NONE, OPTIONS, Offer, Record, option

if TYPE_CHECKING:
    from daso.schema.run import Config

ADAPTIVE = "adaptive"
WEIGHED_TWICE = "both weigh the labeled classes"


@option("balance", NONE)
@dataclass
class BalanceConfig(Record):
    """`none`: all classes alike; the base of all others."""

    name: str = NONE

    def __post_init__(self) -> None:
        require_one_of("balance.name", self.name, tuple(OPTIONS["balance"]))


class CountedBy(Enum):
    """What says how many unlabeled images each class has."""

    store = "store"  # the last pseudo-label of every image, as training made it
    survey = "survey"  # a pass of the average network over all of them, every period


class Unseen(Enum):
    """What an image counts as that training has not met yet."""

    nothing = "nothing"
    first = "first"  # class 0, as in the published code


def _saw(config: "Config") -> Any:
    return config.balance


def _of_weights(usual: "Callable[[Config], Any]", *others: Reader) -> dict[str, Any]:
    """The metadata of a knob of weights that are not all 0."""
    return read_by(Reader("balance.scale above 0", lambda c: _saw(c).scale > 0, usual), *others)


@option("balance", "saw")
@dataclass
class SawBalance(BalanceConfig):
    """SAW (Lai et al., ICML 2022): classes weighed by their effective number, of labels and of pseudo-labels."""

    part: ClassVar[str] = "daso.slots.saw.Saw"
    printed: ClassVar[str] = "SAW"
    periodic: ClassVar[bool] = True
    places: ClassVar[frozenset[str]] = frozenset({"balance"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.PSEUDO, Offer.WEIGHTS})
    apart: ClassVar[Mapping[str, str]] = {"supervised=cb": WEIGHED_TWICE, "supervised=ldam_drw": WEIGHED_TWICE}
    name: str = "saw"
    # steps between two changes of the weights of pseudo-labels
    every: int = field(
        default=500,
        metadata=_of_weights(
            lambda c: c.train.period,
            Reader("balance.beta other than 0", lambda c: _saw(c).beta != 0, lambda c: c.train.period),
        ),
    )
    # base of the effective number: a number, or by the mean number of images of a class
    beta: Any = field(default=ADAPTIVE, metadata=_of_weights(lambda c: ADAPTIVE))
    scale: float = 1.0  # mean of the weights; 0: nothing is weighed
    counted_by: CountedBy = field(default=CountedBy.store, metadata=_of_weights(lambda c: CountedBy.store))
    unseen: Unseen = field(
        default=Unseen.nothing,
        metadata=_of_weights(
            lambda c: Unseen.nothing,
            Reader(
                "balance.counted_by=store", lambda c: _saw(c).counted_by is CountedBy.store, lambda c: Unseen.nothing
            ),
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.every >= 1, "balance.every", self.every, "a number of steps, 1 or more")
        require(self.scale >= 0, "balance.scale", self.scale, "0 (nothing is weighed) or more")
        if self.beta != ADAPTIVE:
            right = f"{ADAPTIVE}, or a number from 0 to below 1"
            try:
                self.beta = float(str(self.beta))
            except ValueError:
                require(False, "balance.beta", self.beta, right)
            require(0 <= self.beta < 1, "balance.beta", self.beta, right)
