"""The knobs of slots that have one filling each. Their `none` shares the dataclass: its other fields are inert."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from daso.schema.base import DIST, Reader, phases_differ, read_by, require, require_one_of
from daso.schema.record import NONE, Offer, Record, option

if TYPE_CHECKING:
    from daso.schema.run import Config

DARP_GOALS = ("labeled", "estimate", "shipped")
LONGER = "a phase of more than daso.warmup_steps steps"


class EmaBn(Enum):
    """How the EMA encoder normalises when it makes prototype features."""

    official = "official"  # the EMA encoder normalises with batch statistics, its running buffers move (Q21)
    clean = "clean"  # the EMA encoder normalises with its running statistics, which stay untouched


def _remembers(config: "Config") -> bool:
    return config.align.momentum > 0 or config.align.window > 1


def _has_window(config: "Config") -> bool:
    return config.align.momentum == 0


def _fills_window(config: "Config") -> bool:
    align = config.align
    return align.restart == 0 or align.window < align.restart or align.window == 1


def _averages(config: "Config") -> bool:
    return config.align.momentum == 0 or config.align.restart != 1


def _has_goal(config: "Config") -> bool:
    """Whether the goal is more than uniform, or of another sum."""
    return config.align.temperature > 0 or config.align.goal == "images" or config.protocol.main.name == "crest_plus"


@option("align", NONE, "da")
@dataclass
class AlignConfig(Record):
    """Distribution alignment of pseudo-labels to the labeled prior: `none` or `da`."""

    part: ClassVar[str] = "daso.slots.align.DistributionAlignment"
    printed: ClassVar[str] = "DA"
    places: ClassVar[frozenset[str]] = frozenset({"align"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.PSEUDO})
    name: str = NONE
    temperature: float = 1.0
    # batches in the running mean
    window: int = field(
        default=128,
        metadata=read_by(
            Reader("align.momentum=0", _has_window, lambda c: 128),
            Reader("align.restart=0, or one above the window,", _fills_window, lambda c: max(128, c.align.restart)),
        ),
    )
    # of a moving average in place of the window
    momentum: float = field(
        default=0.0,
        metadata={"neutral": 0.0} | read_by(Reader("align.restart other than 1", _averages, lambda c: 0.0)),
    )
    # what to follow: the labeled class frequencies; `images`, the labeled images of each class at the size of the
    # unlabeled set, as in CDMAD's code; or `refine`, the distribution that DARP assumes
    goal: str = field(
        default="labeled",
        metadata={"neutral": "labeled"} | read_by(Reader("align.temperature above 0", _has_goal, lambda c: "labeled")),
    )
    # the window, or the moving average, begins anew every so many batches; 0: never
    restart: int = field(
        default=0,
        metadata={"neutral": 0}
        | read_by(Reader("align.window or align.momentum, of more than one batch,", _remembers, lambda c: 0)),
    )

    def __post_init__(self) -> None:
        require_one_of("align.name", self.name, (NONE, "da"))
        require_one_of("align.goal", self.goal, ("labeled", "images", "refine"))
        require(1 <= self.window <= 2**16, "align.window", self.window, f"1 batch to {2**16}")
        require(self.restart >= 0, "align.restart", self.restart, "a number of batches, or 0 for never")
        right = "0 (the mean of the last align.window batches) or more, and below 1"
        require(0 <= self.momentum < 1, "align.momentum", self.momentum, right)
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


def _refines(config: "Config") -> bool:
    """Whether a refinement may be due."""
    return config.darp.warmup < 1 or phases_differ(config)


def darp_assumes(config: "Config") -> bool:
    """Whether anything follows the class distribution that `darp.goal` says."""
    aligned = config.align.name != NONE and config.align.goal == "refine" and _has_goal(config)
    return config.darp.name != NONE and (aligned or _refines(config))


def _usual_goal(config: "Config") -> str:
    """What the paper does (App. C.3)."""
    return "labeled" if config.imb.matched else "estimate"


def _of_refinements(usual: Any, *others: Reader) -> dict[str, Any]:
    """The metadata of a knob of refinements."""
    return read_by(Reader("darp.warmup below 1", _refines, lambda c: usual), *others)


@option("darp", NONE, "darp")
@dataclass
class DarpConfig(Record):
    """DARP (Kim et al. 2020; paper App. C.3): `none` or `darp`."""

    part: ClassVar[str] = "daso.slots.darp.Darp"
    printed: ClassVar[str] = "DARP"
    places: ClassVar[frozenset[str]] = frozenset({"refine"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.PSEUDO})
    name: str = NONE
    # the class distribution that the unlabeled set is assumed to have: `labeled` (that of the labeled set), `estimate`
    # (by a run on held-out images, which comes first), `shipped` (the reference's estimates, for some settings)
    goal: str = field(
        default="labeled",
        metadata=read_by(Reader("darp.warmup below 1, or align.goal=refine,", darp_assumes, _usual_goal)),
    )
    # of each class the alpha * (images assumed) largest entries are kept
    alpha: float = field(default=2.0, metadata=_of_refinements(2.0))
    warmup: float = 0.4  # fraction of train.steps (of a generation) without refinement
    every: int = field(default=10, metadata=_of_refinements(10))  # steps between two refinements
    iterations: int = field(default=10, metadata=_of_refinements(10))
    # refine at the end of the warm-up too, not only at multiples of `every` (Q44)
    refine_on_first: bool = field(
        default=False,
        metadata=_of_refinements(False, Reader("darp.every=2 or more", lambda c: c.darp.every > 1, lambda c: False)),
    )

    def __post_init__(self) -> None:
        require_one_of("darp.name", self.name, (NONE, "darp"))
        require_one_of("darp.goal", self.goal, DARP_GOALS)
        require(self.alpha > 0, "darp.alpha", self.alpha, "a positive factor")
        require(0 <= self.warmup <= 1, "darp.warmup", self.warmup, "a fraction of train.steps")
        require(self.every >= 1, "darp.every", self.every, "a number of steps, 1 or more")
        require(1 <= self.iterations <= 10_000, "darp.iterations", self.iterations, "1 to 10000")

    def remarks(self, steps: int) -> list[str]:
        """A warm-up that leaves no refinement."""
        begins = int(self.warmup * steps)
        last = steps if self.refine_on_first and begins < steps else steps - steps % self.every
        if last > begins:
            return []
        return [
            f"DARP never refines in this run: its warm-up ends after {begins} of {steps} steps and "
            f"darp.every={self.every}, so that pseudo-labels are uniform from there on."
        ]


def _blends(config: "Config") -> bool:
    """Whether a phase is longer than the warm-up."""
    return config.daso.warmup_steps < config.phase_steps or phases_differ(config)


def _usual_align_weight(config: "Config") -> float:
    """That of `daso=paper`, or of `daso=blend_only` for learners without a strong view."""
    return 1.0 if Offer.STRONG in config.algorithm.offers else 0.0


def _after_warmup(usual: Any, *others: Reader) -> dict[str, Any]:
    """The metadata of a knob of what begins with the end of the warm-up."""
    value = usual if callable(usual) else lambda c: usual
    return read_by(*others, Reader(LONGER, _blends, value))


def _of_head(usual: "Callable[[Config], Any]", *others: Reader) -> dict[str, Any]:
    """The metadata of a knob of the second head."""
    return read_by(*others, Reader("abc.weight above 0", lambda c: c.abc.weight > 0, usual))


@option("abc", NONE, "abc")
@dataclass
class AbcConfig(Record):
    """ABC (Lee et al. 2021; paper App. C.3), an auxiliary balanced classifier: `none` or `abc`."""

    part: ClassVar[str] = "daso.slots.abc.Abc"
    reads_threshold: ClassVar[bool] = True
    printed: ClassVar[str] = "ABC"
    periodic: ClassVar[bool] = True
    places: ClassVar[frozenset[str]] = frozenset({"predict"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.STRONG})
    apart: ClassVar[Mapping[str, str]] = {
        "supervised=ldam_drw": "margins on the one head and Bernoulli masks on the other do not go together"
    }
    name: str = NONE
    weight: float = 1.0
    # steps between two stairs of the schedule that balances unlabeled images
    every: int = field(default=500, metadata=_of_head(lambda c: c.train.period))
    # its pseudo-labels are blended as the main head's, where something blends those
    blend: bool = field(
        default=True,
        metadata=_of_head(
            lambda c: True,
            Reader("a method with semantic labels", lambda c: c.fills("semantic"), lambda c: True),
            Reader(LONGER, _blends, lambda c: True),
        ),
    )

    def __post_init__(self) -> None:
        require_one_of("abc.name", self.name, (NONE, "abc"))
        require(self.weight >= 0, "abc.weight", self.weight, "a loss weight, 0 or more")
        require(self.every >= 1, "abc.every", self.every, "a number of steps, 1 or more")

    def remarks(self, steps: int) -> list[str]:
        """A schedule without a second stair."""
        if self.every < steps:
            return []
        return [
            f"ABC never balances the unlabeled images in this run, but keeps them all: abc.every={self.every} is not "
            f"below {steps} steps."
        ]


def paper_t_dist(dataset: str, matched: bool) -> float:
    """The paper's T_dist (App. C.3, Table 10): 1.5 on CIFAR-10 when gamma_l = gamma_u, else 0.3."""
    return 1.5 if dataset == "cifar10" and matched else 0.3


def _blends_by_count(usual: "Callable[[Config], float]") -> dict[str, Any]:
    return _after_warmup(usual, Reader("daso.blend=dist", lambda c: c.daso.blend == DIST, usual))


@option("daso", NONE, "daso")
@dataclass
class DasoConfig(Record):
    """DASO (paper sections 3.2-3.4, App. C.3): `none` or `daso`."""

    part: ClassVar[str] = "daso.slots.daso.Daso"
    printed: ClassVar[str] = "DASO"
    places: ClassVar[frozenset[str]] = frozenset({"semantic"})
    needs: ClassVar[frozenset[Offer]] = frozenset({Offer.PSEUDO})
    name: str = NONE
    t_proto: float = field(default=0.05, metadata=_after_warmup(0.05))
    t_dist: float = field(default=1.0, metadata=_blends_by_count(lambda c: paper_t_dist(c.dataset.name, c.imb.matched)))
    queue_size: int = field(default=256, metadata=_after_warmup(256))
    align_weight: float = field(default=1.0, metadata={"needs": Offer.STRONG} | _after_warmup(_usual_align_weight))
    warmup_steps: int = 5000
    # steps between two looks at the pseudo-label distribution
    update_every: int = field(default=100, metadata=_blends_by_count(lambda c: 50 if c.miniature else 100))
    warmup_epochs: float = field(default=0.0, metadata={"neutral": 0.0})  # in place of warmup_steps, which then follow
    # likewise of update_every
    update_epochs: float = field(default=0.0, metadata={"neutral": 0.0} | _blends_by_count(lambda c: 0.0))
    ema_bn: EmaBn = EmaBn.official
    # the semantic label's share: `dist` follows the pseudo-label distribution, a number in 0..1 fixes it (Table 6)
    blend: Any = field(default=DIST, metadata={"neutral": DIST} | _after_warmup(DIST))
    # Table 7: rings of equal length; else as long as the classes' shares of the labeled set
    balanced_queue: bool = field(default=True, metadata={"neutral": True} | _after_warmup(True))
    # Table 7: prototypes of the EMA encoder's features; else of the trained one's
    ema_encoder: bool = field(default=True, metadata={"neutral": True})

    def __post_init__(self) -> None:
        require_one_of("daso.name", self.name, (NONE, "daso"))
        self.blend = parse_blend(self.blend)
        require(self.t_proto > 0, "daso.t_proto", self.t_proto, "a positive temperature")
        require(self.t_dist > 0, "daso.t_dist", self.t_dist, "a positive temperature")
        require(1 <= self.queue_size <= 2**16, "daso.queue_size", self.queue_size, f"1 feature per class to {2**16}")
        require(self.align_weight >= 0, "daso.align_weight", self.align_weight, "a loss weight, 0 or more")
        for key in ("warmup_epochs", "update_epochs"):
            require(getattr(self, key) >= 0, f"daso.{key}", getattr(self, key), "a number of epochs, or 0 for steps")
        require(self.update_every >= 1, "daso.update_every", self.update_every, "a number of steps, 1 or more")
        require(
            self.warmup_steps >= self.update_every,
            "daso.warmup_steps",
            self.warmup_steps,
            f"the warm-up must last at least one histogram period (daso.update_every={self.update_every}), "
            "or the first blend has no pseudo-label distribution to look at",
        )
