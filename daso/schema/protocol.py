"""What happens around the steps: which labeled images a batch holds, and the phases and stages of a run."""

from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from daso.schema.base import require, require_one_of

SAMPLERS = ("random", "class_aware")
GENERATIONS = ("crest", "crest_plus")


class FrozenBn(Enum):
    """How a frozen encoder normalises."""

    official = "official"  # with batch statistics, and its running ones keep moving (Q50)
    clean = "clean"  # with its running statistics, which stay


@dataclass
class SamplerConfig:
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


@dataclass
class ProtocolConfig:
    """`none`; `crest` and `crest_plus` (Wei et al. 2021): generations; `crt` (Kang et al. 2020): the classifier is
    trained again on the frozen encoder of a first run; `estimate` (Kim et al. 2020): of the unlabeled set's class
    distribution. Settings: paper App. C.3.
    """

    absent: ClassVar[str] = "none"
    name: str = "none"
    generations: int = field(default=5, metadata={"only": (*GENERATIONS, "crt")})
    # a class keeps the share (N_k / N_1)^(1/alpha) of its candidates, k counted from the other end
    alpha: float = field(default=3.0, metadata={"only": (*GENERATIONS, "crt")})
    # crest_plus: the temperature of the alignment goal falls from 1 to this one
    t_min: float = field(default=0.5, metadata={"only": ("crest_plus", "crt")})
    # crt: the protocol of its first stage; a finished run (key or folder) instead of it; the second stage's length as
    # a fraction of train.steps, and its sampler
    first: str = field(default="none", metadata={"only": ("crt",)})
    from_run: str = field(default="", metadata={"only": ("crt",)})
    retrain: float = field(default=0.4, metadata={"only": ("crt",)})
    sampler: str = field(default="class_aware", metadata={"only": ("crt",)})
    beta: float = field(default=0.999, metadata={"only": ("crt",)})
    frozen_bn: FrozenBn = field(default=FrozenBn.official, metadata={"only": ("crt",)})
    # estimate: images per class that are held out of training; the condition number from which a confusion matrix is
    # not used
    holdout: int = field(default=10, metadata={"only": ("estimate",)})
    max_condition: float = field(default=100.0, metadata={"only": ("estimate",)})

    def __post_init__(self) -> None:
        require_one_of("protocol.name", self.name, ("none", "estimate", *GENERATIONS, "crt"))
        require(self.generations >= 1, "protocol.generations", self.generations, "1 (no new generation) or more")
        require(self.alpha > 0, "protocol.alpha", self.alpha, "a positive number, the inverse of an exponent")
        require(0 <= self.t_min <= 1, "protocol.t_min", self.t_min, "a temperature between 0 and 1")
        require_one_of("protocol.first", self.first, ("none", *GENERATIONS))
        require(0 < self.retrain <= 1, "protocol.retrain", self.retrain, "a fraction of train.steps above 0")
        require_one_of("protocol.sampler", self.sampler, SAMPLERS)
        require_beta("protocol.beta", self.beta)
        require(self.holdout >= 1, "protocol.holdout", self.holdout, "at least one image per class")
        require(self.max_condition > 1, "protocol.max_condition", self.max_condition, "a condition number above 1")

    @property
    def phases(self) -> str:
        """The generations of the main training, that of the first stage where there are two: a name, or `none`."""
        name = self.first if self.name == "crt" else self.name
        return name if name in GENERATIONS else "none"
