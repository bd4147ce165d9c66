"""The slots' knobs: one node per place of the step."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

from daso.schema.base import DIST, require, require_one_of
from daso.schema.protocol import require_beta

REWEIGHTING = ("cb", "ldam_drw")
DARP_GOALS = ("labeled", "estimate", "shipped")


class EmaBn(Enum):
    """How the EMA encoder normalises when it makes prototype features."""

    official = "official"  # the EMA encoder normalises with batch statistics, its running buffers move (Q21)
    clean = "clean"  # the EMA encoder normalises with its running statistics, which stay untouched


@dataclass
class SupervisedLossConfig:
    """The labeled loss: `ce`; `la` (logit adjustment, tau * log prior added to the labeled logits); `cb` (classes
    weighed by their effective number); `ldam_drw` (a margin per class, and the weights of `cb`).
    """

    absent: ClassVar[str] = "ce"  # the name at which a slot adds nothing: left out of the run key
    name: str = "ce"
    tau: float = field(default=1.0, metadata={"only": ("la",)})
    beta: float = field(default=0.999, metadata={"only": REWEIGHTING})  # a class weighs (1 - beta) / (1 - beta^n_c)
    defer: float = field(default=0.8, metadata={"only": REWEIGHTING})  # weights from this fraction of train.steps on
    max_margin: float = field(default=0.5, metadata={"only": ("ldam_drw",)})
    scale: float = field(default=30.0, metadata={"only": ("ldam_drw",)})
    margins_at_once: bool = field(default=False, metadata={"only": ("ldam_drw",)})  # else they are deferred too (Q18)

    def __post_init__(self) -> None:
        require_one_of("supervised.name", self.name, ("ce", "la", *REWEIGHTING))
        require(self.tau >= 0, "supervised.tau", self.tau, "0 (plain cross-entropy) or more")
        require_beta("supervised.beta", self.beta)
        require(0 <= self.defer <= 1, "supervised.defer", self.defer, "a fraction of train.steps")
        require(self.max_margin >= 0, "supervised.max_margin", self.max_margin, "a margin, 0 or more")
        require(self.scale > 0, "supervised.scale", self.scale, "a positive factor of the logits")


@dataclass
class AlignConfig:
    """Distribution alignment of pseudo-labels to the labeled prior: `none` or `da`."""

    absent: ClassVar[str] = "none"
    name: str = "none"
    temperature: float = 1.0
    window: int = 128  # batches in the running mean
    # what to follow: the labeled class frequencies, or `refine`, the distribution that DARP assumes
    goal: str = field(default="labeled", metadata={"neutral": "labeled"})

    def __post_init__(self) -> None:
        require_one_of("align.name", self.name, ("none", "da"))
        require_one_of("align.goal", self.goal, ("labeled", "refine"))
        require(self.window >= 1, "align.window", self.window, "at least one batch")
        require(self.temperature >= 0, "align.temperature", self.temperature, "0 (uniform goal) or more")


def parse_blend(value: object) -> float | str:
    """Read the semantic label's share: `dist`, or a number between 0 and 1."""
    if value == DIST:
        return DIST
    try:
        share = float(str(value))
    except ValueError:
        share = -1.0
    require(0 <= share <= 1, "daso.blend", value, "dist (by the pseudo-label distribution), or a number from 0 to 1")
    return share


@dataclass
class DarpConfig:
    """DARP (Kim et al. 2020; paper App. C.3): `none` or `darp`."""

    absent: ClassVar[str] = "none"
    name: str = "none"
    # the class distribution that the unlabeled set is assumed to have: `labeled` (that of the labeled set), `estimate`
    # (by a run on held-out images, which comes first), `shipped` (the reference's estimates, for some settings)
    goal: str = "labeled"
    alpha: float = 2.0  # of each class the alpha * (images assumed) largest entries are kept
    warmup: float = 0.4  # fraction of train.steps (of a generation) without refinement
    every: int = 10  # steps between two refinements
    iterations: int = 10
    refine_on_first: bool = False  # refine at the end of the warm-up too, not only at multiples of `every` (Q44)

    def __post_init__(self) -> None:
        require_one_of("darp.name", self.name, ("none", "darp"))
        require_one_of("darp.goal", self.goal, DARP_GOALS)
        require(self.alpha > 0, "darp.alpha", self.alpha, "a positive factor")
        require(0 <= self.warmup <= 1, "darp.warmup", self.warmup, "a fraction of train.steps")
        require(self.every >= 1, "darp.every", self.every, "a number of steps, 1 or more")
        require(self.iterations >= 1, "darp.iterations", self.iterations, "1 or more")


@dataclass
class ConfidenceConfig:
    """Which pseudo-labels count: `none` (those above the learner's threshold) or `boss` (a threshold per class)."""

    absent: ClassVar[str] = "none"
    name: str = "none"
    delta: float = 0.25  # how far the threshold of the rarest pseudo-label is lowered (paper, App. C.3)

    def __post_init__(self) -> None:
        require_one_of("confidence.name", self.name, ("none", "boss"))
        require(0 <= self.delta <= 1, "confidence.delta", self.delta, "0 (one threshold for all classes) to 1")


@dataclass
class AbcConfig:
    """ABC (Lee et al. 2021; paper App. C.3), an auxiliary balanced classifier: `none` or `abc`."""

    absent: ClassVar[str] = "none"
    name: str = "none"
    weight: float = 1.0
    every: int = 500  # steps between two stairs of the schedule that balances unlabeled images
    blend: bool = True  # its pseudo-labels are blended as the main head's, where something blends those

    def __post_init__(self) -> None:
        require_one_of("abc.name", self.name, ("none", "abc"))
        require(self.weight >= 0, "abc.weight", self.weight, "a loss weight, 0 or more")
        require(self.every >= 1, "abc.every", self.every, "a number of steps, 1 or more")


@dataclass
class DasoConfig:
    """DASO (paper sections 3.2-3.4, App. C.3): `none` or `daso`."""

    absent: ClassVar[str] = "none"
    name: str = "none"
    t_proto: float = 0.05
    t_dist: float = 1.0
    queue_size: int = 256
    align_weight: float = 1.0
    warmup_steps: int = 5000
    update_every: int = 100
    ema_bn: EmaBn = EmaBn.official
    # the semantic label's share: `dist` follows the pseudo-label distribution, a number in 0..1 fixes it (Table 6)
    blend: Any = field(default=DIST, metadata={"neutral": DIST})
    # Table 7: rings of equal length; else as long as the classes' shares of the labeled set
    balanced_queue: bool = field(default=True, metadata={"neutral": True})
    # Table 7: prototypes of the EMA encoder's features; else of the trained one's
    ema_encoder: bool = field(default=True, metadata={"neutral": True})

    def __post_init__(self) -> None:
        require_one_of("daso.name", self.name, ("none", "daso"))
        self.blend = parse_blend(self.blend)
        require(self.t_proto > 0, "daso.t_proto", self.t_proto, "a positive temperature")
        require(self.t_dist > 0, "daso.t_dist", self.t_dist, "a positive temperature")
        require(self.queue_size >= 1, "daso.queue_size", self.queue_size, "at least one feature per class")
        require(self.align_weight >= 0, "daso.align_weight", self.align_weight, "a loss weight, 0 or more")
        require(self.update_every >= 1, "daso.update_every", self.update_every, "a number of steps, 1 or more")
        require(
            self.warmup_steps >= self.update_every,
            "daso.warmup_steps",
            self.warmup_steps,
            f"the warm-up must last at least one histogram period (daso.update_every={self.update_every}), "
            "or the first blend has no pseudo-label distribution to look at",
        )
