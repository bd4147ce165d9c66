"""What happens around the steps: which labeled images a batch holds, and the phases and stages of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, cast

from daso.schema.base import NOT_SCIENCE, Reader, read_by, require, require_one_of, require_place
from daso.schema.record import NONE, OPTIONS, Offer, Record, option

if TYPE_CHECKING:
    from daso.schema.run import Config

SAMPLERS = ("random", "class_aware")
FIRST_STAGES = (NONE, "crest", "crest_plus")


class FrozenBn(Enum):
    """How a frozen encoder normalises."""

    official = "official"  # with batch statistics, and its running ones keep moving (Q50)
    clean = "clean"  # with its running statistics, which stay


@option("sampler", *SAMPLERS)
@dataclass
class SamplerConfig(Record):
    """The labeled images of a batch: `random` (each once a round) or `class_aware` (by the effective number, Q50)."""

    absent: ClassVar[str] = "random"
    name: str = "random"
    beta: float = 0.999  # an image of class c weighs (1 - beta) / (1 - beta^n_c); 1: 1 / n_c

    def __post_init__(self) -> None:
        require_one_of("sampler.name", self.name, SAMPLERS)
        require_beta("sampler.beta", self.beta)


def require_beta(key: str, beta: float) -> None:
    """Raise a `UserError` unless `beta` is a base of effective numbers."""
    require(0 <= beta <= 1, key, beta, "0 (all classes alike per image) to 1 (all classes equally often)")


@option("protocol", NONE)
@dataclass
class ProtocolConfig(Record):
    """`none`: one phase from the first step to the last; the base of all others. Settings: paper App. C.3."""

    part: ClassVar[str] = "daso.protocol.base.Protocol"
    name: str = NONE

    def __post_init__(self) -> None:
        require_one_of("protocol.name", self.name, tuple(OPTIONS["protocol"]))

    @property
    def main(self) -> "ProtocolConfig":
        """The protocol of the main training: this one, or that of the first stage where there are two."""
        return self

    @property
    def phases(self) -> int:
        """Phases of the main training."""
        return 1


WITH_GENERATIONS = "a protocol, or protocol.first, with generations"


def _has_generations(config: "Config") -> bool:
    """Whether the run trains generations: not where a finished run stands for them."""
    return isinstance(config.protocol.main, CrestProtocol) and not getattr(config.protocol, "from_run", "")


@option("protocol", "crest")
@dataclass
class CrestProtocol(ProtocolConfig):
    """CReST (Wei et al. 2021): generations, each trained from scratch on a labeled set that the last one enlarged."""

    part: ClassVar[str] = "daso.protocol.crest.Crest"
    printed: ClassVar[str] = "CReST"
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.PSEUDO})
    name: str = "crest"
    generations: int = field(default=5, metadata=read_by(Reader(WITH_GENERATIONS, _has_generations, lambda c: 5)))
    # a class keeps the share (N_k / N_1)^(1/alpha) of its candidates, k counted from the other end
    alpha: float = field(
        default=3.0,
        metadata=read_by(
            Reader(WITH_GENERATIONS, _has_generations, lambda c: 3.0),
            Reader("protocol.generations=2 or more", lambda c: c.protocol.phases > 1, lambda c: 3.0),
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.generations >= 1, "protocol.generations", self.generations, "1 (no new generation) or more")
        require(self.alpha > 0, "protocol.alpha", self.alpha, "a positive number, the inverse of an exponent")

    @property
    def phases(self) -> int:
        """The generations."""
        return self.generations


@option("protocol", "crest_plus")
@dataclass
class CrestPlusProtocol(CrestProtocol):
    """CReST+: the goal of distribution alignment flattens from generation to generation."""

    printed: ClassVar[str] = "CReST+"
    name: str = "crest_plus"
    # the temperature of the alignment goal falls from 1 to this one
    t_min: float = field(
        default=0.5,
        metadata=read_by(
            Reader(
                "crest_plus, as protocol or protocol.first,",
                lambda c: _has_generations(c) and c.protocol.main.name == "crest_plus",
                lambda c: 0.5,
            ),
            Reader("protocol.generations=2 or more", lambda c: c.protocol.phases > 1, lambda c: 0.5),
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.t_min <= 1, "protocol.t_min", self.t_min, "a temperature between 0 and 1")


@option("protocol", "crt")
@dataclass
class CrtProtocol(CrestPlusProtocol):
    """cRT (Kang et al. 2020): the classifier is trained again on the frozen encoder of a first run, whose generations,
    if it has any, are set here too.
    """

    part: ClassVar[str] = "daso.protocol.crt.Crt"
    printed: ClassVar[str] = "cRT"
    needs: ClassVar[frozenset[Offer]] = frozenset()  # those of `main` count
    apart: ClassVar[Mapping[str, str]] = {
        "algorithm=cpe": "the second stage trains a classifier on features of one normalisation, this learner has three"
    }
    name: str = "crt"
    first: str = NONE  # the protocol of the first stage
    from_run: str = field(default="", metadata={"by": "from_content"})  # a finished run (key or folder) instead of it
    from_content: str = field(default="", metadata=NOT_SCIENCE)  # filled by resolve(); never set by hand
    retrain: float = 0.4  # the second stage's length as a fraction of train.steps, and its sampler
    sampler: str = "class_aware"
    beta: float = field(
        default=0.999,
        metadata=read_by(
            Reader(
                "protocol.sampler=class_aware",
                lambda c: getattr(c.protocol, "sampler", "") == "class_aware",
                lambda c: 0.999,
            )
        ),
    )
    frozen_bn: FrozenBn = FrozenBn.official

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("protocol.first", self.first, FIRST_STAGES)
        if self.from_run:
            self.from_run = require_place("protocol.from_run", self.from_run)
        require(0 < self.retrain <= 1, "protocol.retrain", self.retrain, "a fraction of train.steps above 0")
        require_one_of("protocol.sampler", self.sampler, SAMPLERS)
        require_beta("protocol.beta", self.beta)

    @property
    def main(self) -> ProtocolConfig:
        """The protocol of the first stage."""
        kind = cast(type[ProtocolConfig], OPTIONS["protocol"][self.first])
        return kind(**{f.name: getattr(self, f.name) for f in fields(kind)} | {"name": self.first})

    @property
    def phases(self) -> int:
        """Those of the first stage."""
        return self.main.phases


@option("protocol", "estimate")
@dataclass
class EstimateProtocol(ProtocolConfig):
    """The class distribution of the unlabeled set, estimated from a confusion matrix (Kim et al. 2020)."""

    part: ClassVar[str] = "daso.protocol.estimate.Estimate"
    name: str = "estimate"
    holdout: int = 10  # images per class that are held out of training
    max_condition: float = 100.0  # the condition number from which a confusion matrix is not used

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.holdout >= 1, "protocol.holdout", self.holdout, "at least one image per class")
        require(self.max_condition > 1, "protocol.max_condition", self.max_condition, "a condition number above 1")
