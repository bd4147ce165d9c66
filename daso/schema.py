"""The complete list of knobs: what a run can be told, with types, defaults and the checks that need one node alone.

Pure dataclasses, no Hydra here. `conf/` holds the option files, `daso/conf.py` composes and resolves them into a `Config`.
Checks that span several nodes stand in `check()` at the end.
"""

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any, ClassVar

from daso.errors import UserError

UNKNOWN = "unknown"


class Offer(Enum):
    """A place of the training step that a learner opens to slots."""

    LABELED_LOGITS = "labeled_logits"  # a labeled loss on plain labeled images
    PSEUDO = "pseudo"  # a pseudo-label distribution that passes through align, refine, blend
    STRONG = "strong"  # features of a strong view of the same unlabeled images


class Precision(Enum):
    auto = "auto"
    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"


class Compile(Enum):
    none = "none"
    default = "default"


class EmaBn(Enum):
    official = "official"  # the EMA encoder normalises with batch statistics, its running buffers move (Q21)
    clean = "clean"  # the EMA encoder normalises with its running statistics, which stay untouched


class Schedule(Enum):
    constant = "constant"
    multistep = "multistep"
    cosine = "cosine"


def require(ok: bool, key: str, value: object, right: str) -> None:
    """Raise a `UserError` naming key, value and what would be right, unless `ok`."""
    if not ok:
        raise UserError(f"{key}={value} is not possible: {right}.")


@dataclass
class DatasetConfig:
    """An image data set and how its images enter the network."""

    name: str
    num_classes: int
    class_size: int  # training images of the smallest class: bounds N1 + M1 without reading data
    channels: int
    source_size: int  # pixels per side on disk
    resolution: int  # pixels per side in the network
    mean: list[float]
    std: list[float]
    root: str = "data"
    num_valid: int = 0  # images held out of the training split, class-balanced
    flip: bool = True
    crop_pad: int = 4
    cutout: int = 16
    unknown_unlabeled: bool = False  # the unlabeled set comes with the data set, labels unknown (STL-10)

    def __post_init__(self) -> None:
        require(self.num_valid >= 0, "dataset.num_valid", self.num_valid, "it is a number of images, 0 or more")
        require(
            self.num_valid % self.num_classes == 0,
            "dataset.num_valid",
            self.num_valid,
            f"the validation set is class-balanced, so it must be a multiple of {self.num_classes}",
        )
        require(self.num_valid // self.num_classes < self.class_size, "dataset.num_valid", self.num_valid,
                f"the smallest class has {self.class_size} training images")
        require(0 <= self.crop_pad < self.source_size, "dataset.crop_pad", self.crop_pad, "0 to image size - 1")
        require(self.cutout >= 0, "dataset.cutout", self.cutout, "it is a number of pixels, 0 or more")


@dataclass
class ImbalanceConfig:
    """Class sizes N_k = N1 * gamma_l^(-(k-1)/(C-1)), M_k likewise (paper, App. C.1)."""

    n1: int
    m1: Any  # a number, or "unknown" where the data set brings its unlabeled set
    gamma_l: float
    gamma_u: Any  # a number, "1/100" (reversed), or "unknown"

    def __post_init__(self) -> None:
        self.gamma_u = parse_gamma_u(self.gamma_u)
        require(self.n1 >= 1, "imb.n1", self.n1, "the head class needs at least one labeled image")
        require(self.gamma_l >= 1, "imb.gamma_l", self.gamma_l, "the labeled imbalance is head / tail, 1 or more")
        if self.m1 != UNKNOWN:
            try:
                self.m1 = int(str(self.m1))
            except ValueError:
                require(False, "imb.m1", self.m1, "a number of images, or unknown for a data set with its own unlabeled split")
            require(self.m1 >= 1, "imb.m1", self.m1, "the head class needs at least one unlabeled image")


def parse_gamma_u(value: object) -> float | str:
    """Read an unlabeled imbalance: a positive number, a fraction such as `1/100`, or `unknown`.

    Values below 1 mean the reversed distribution; `0.01` and `1/100` are the same.
    """
    if str(value) == UNKNOWN:
        return UNKNOWN
    try:
        ratio = float(Fraction(str(value)))
    except (ValueError, ZeroDivisionError):
        ratio = -1.0
    require(ratio > 0, "imb.gamma_u", value, "a positive number, 1/100 for a reversed distribution, or unknown")
    return ratio


@dataclass
class AlgorithmConfig:
    """A learner. Subclasses add its knobs; `offers` says which slots compose with it."""

    name: str
    offers: ClassVar[frozenset[Offer]] = frozenset()
    unlabeled_ratio: ClassVar[int] = 1  # the paper's mu (Table 10), the default of train.mu


@dataclass
class SupervisedAlgorithm(AlgorithmConfig):
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS})


@dataclass
class FixMatchAlgorithm(AlgorithmConfig):
    threshold: float = 0.95
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.STRONG})
    unlabeled_ratio: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "algorithm.threshold", self.threshold, "a confidence between 0 and 1")


@dataclass
class SupervisedLossConfig:
    """The labeled loss: `ce`, or `la` (logit adjustment, tau * log prior added to the labeled logits)."""

    name: str = "ce"
    tau: float = 1.0


@dataclass
class AlignConfig:
    """Distribution alignment of pseudo-labels to the labeled prior: `none` or `da`."""

    name: str = "none"
    temperature: float = 1.0
    window: int = 128  # batches in the running mean

    def __post_init__(self) -> None:
        require(self.window >= 1, "align.window", self.window, "at least one batch")
        require(self.temperature >= 0, "align.temperature", self.temperature, "0 (uniform goal) or more")


@dataclass
class DasoConfig:
    """DASO (paper sections 3.2-3.4, App. C.3): `none` or `daso`."""

    name: str = "none"
    t_proto: float = 0.05
    t_dist: float = 1.0
    queue_size: int = 256
    align_weight: float = 1.0
    warmup_steps: int = 5000
    update_every: int = 100
    ema_bn: EmaBn = EmaBn.official

    def __post_init__(self) -> None:
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


@dataclass
class ModelConfig:
    """A Wide ResNet (depth 6n+4, width factor k)."""

    name: str
    depth: int
    width: int
    stem_stride: int = 1

    def __post_init__(self) -> None:
        require(self.depth >= 10 and (self.depth - 4) % 6 == 0, "model.depth", self.depth, "10, 16, 22, 28, 34, ...")
        require(self.width >= 1, "model.width", self.width, "a width factor, 1 or more")
        require(self.stem_stride in (1, 2), "model.stem_stride", self.stem_stride, "1 or 2")


@dataclass
class OptimConfig:
    """SGD with Nesterov momentum, its learning-rate schedule, and the EMA of the weights.

    Positions are fractions of `train.steps`, equal to the reference at 250,000 steps.
    """

    name: str
    lr: float
    schedule: Schedule
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    ema_decay: float = 0.999
    warmup: float = 0.0
    milestones: list[float] = field(default_factory=list)
    gamma: float = 0.2
    cosine_ratio: float = 7.0

    def __post_init__(self) -> None:
        require(self.lr > 0, "optim.lr", self.lr, "a positive learning rate")
        require(0 <= self.momentum < 1, "optim.momentum", self.momentum, "0 or more and below 1")
        require(not self.nesterov or self.momentum > 0, "optim.momentum", self.momentum,
                "Nesterov momentum needs a positive momentum")
        require(self.weight_decay >= 0, "optim.weight_decay", self.weight_decay, "0 or more")
        require(0 <= self.ema_decay < 1, "optim.ema_decay", self.ema_decay, "0 or more and below 1")
        require(0 <= self.warmup <= 1, "optim.warmup", self.warmup, "a fraction of train.steps")
        require(all(0 < m <= 1 for m in self.milestones), "optim.milestones", self.milestones, "fractions of train.steps")


@dataclass
class TrainConfig:
    steps: int
    batch_size: int
    mu: int  # unlabeled images per labeled image
    eval_every: int
    log_every: int
    checkpoint_every: int
    precision: Precision = Precision.auto
    channels_last: bool = True
    compile: Compile = Compile.none
    deterministic: bool = True
    threads: int = 1  # CPU threads; bit equality depends on it

    def __post_init__(self) -> None:
        for key in ("steps", "batch_size", "mu", "eval_every", "log_every", "checkpoint_every", "threads"):
            require(getattr(self, key) >= 1, f"train.{key}", getattr(self, key), "1 or more")


@dataclass
class TrackConfig:
    """Where metrics are mirrored: `mlflow` or `none`. The run directory's JSONL is written in any case."""

    name: str
    uri: str = ""
    experiment: str = "daso"


@dataclass
class Config:
    dataset: DatasetConfig
    imb: ImbalanceConfig
    algorithm: AlgorithmConfig
    supervised: SupervisedLossConfig
    align: AlignConfig
    daso: DasoConfig
    model: ModelConfig
    optim: OptimConfig
    train: TrainConfig
    track: TrackConfig
    seed: int = 0
    device: str = "auto"
    out_root: str = "outputs"
    force: bool = False
    eval_only: bool = False
    resume_across: bool = False  # allow a resume on another device type, precision, thread count or torch version
    run_key: str = ""  # filled by resolve(); never set by hand
