"""The slots' knobs: one node per place of the step."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

from daso.schema.base import DIST, require, require_one_of


class EmaBn(Enum):
    """How the EMA encoder normalises when it makes prototype features."""

    official = "official"  # the EMA encoder normalises with batch statistics, its running buffers move (Q21)
    clean = "clean"  # the EMA encoder normalises with its running statistics, which stay untouched


@dataclass
class SupervisedLossConfig:
    """The labeled loss: `ce`, or `la` (logit adjustment, tau * log prior added to the labeled logits)."""

    absent: ClassVar[str] = "ce"  # the name at which a slot adds nothing: left out of the run key
    name: str = "ce"
    tau: float = 1.0

    def __post_init__(self) -> None:
        require_one_of("supervised.name", self.name, ("ce", "la"))
        require(self.tau >= 0, "supervised.tau", self.tau, "0 (plain cross-entropy) or more")


@dataclass
class AlignConfig:
    """Distribution alignment of pseudo-labels to the labeled prior: `none` or `da`."""

    absent: ClassVar[str] = "none"
    name: str = "none"
    temperature: float = 1.0
    window: int = 128  # batches in the running mean

    def __post_init__(self) -> None:
        require_one_of("align.name", self.name, ("none", "da"))
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
