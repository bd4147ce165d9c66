"""Which pseudo-labels a thresholded consistency loss is trained with: one dataclass per option."""

from dataclasses import dataclass
from typing import ClassVar

from daso.schema.base import require, require_one_of
from daso.schema.record import NONE, OPTIONS, Offer, Record, option


@option("confidence", NONE)
@dataclass
class ConfidenceConfig(Record):
    """`none`: those above the learner's threshold; the base of all others."""

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
