"""Methods that take the class prior out of pseudo-labels, or put another one in: one dataclass per option."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from daso.schema.base import require, require_one_of
from daso.schema.record import NONE, OPTIONS, Offer, Record, option

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
