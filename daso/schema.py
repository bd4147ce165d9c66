"""The complete list of knobs: what a run can be told, with types, defaults and the checks that need one node alone.

Pure dataclasses, no Hydra here. `conf/` holds the option files, `daso/conf.py` resolves them into a `Config`.
Checks that span several nodes stand in `daso/checks.py`.

A field's metadata says how it enters the run key (`daso/identity.py`): `NOT_SCIENCE` for what changes no number of a
run; `{"neutral": value}` for a field added later, with the value that reproduces life before the field existed.
"""

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

from daso.errors import UserError

UNKNOWN = "unknown"
DIST = "dist"
NOT_SCIENCE = {"science": False}


class Offer(Enum):
    """A place of the training step that a learner opens to slots."""

    LABELED_LOGITS = "labeled_logits"  # a labeled loss on plain labeled images
    PSEUDO = "pseudo"  # a pseudo-label distribution that passes through align, refine, blend
    STRONG = "strong"  # features of a strong view of the same unlabeled images


class Precision(Enum):
    """The arithmetic of a training step; `auto` is the device's best safe choice."""

    auto = "auto"
    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"


class Compile(Enum):
    """Whether the step runs through `torch.compile`."""

    none = "none"
    default = "default"


class EmaBn(Enum):
    """How the EMA encoder normalises when it makes prototype features."""

    official = "official"  # the EMA encoder normalises with batch statistics, its running buffers move (Q21)
    clean = "clean"  # the EMA encoder normalises with its running statistics, which stay untouched


class Schedule(Enum):
    """How the learning rate moves with the step."""

    constant = "constant"
    multistep = "multistep"
    cosine = "cosine"


class Provenance(NamedTuple):
    """Where a configuration came from: recorded beside a run, without a part in its identity."""

    overrides: list[str]  # as typed on the command line, or as the sweep set them
    choices: dict[str, str]  # the chosen option of each configuration group
    in_sweep: bool
    warnings: list[str]  # sentences for the console


def require(ok: bool, key: str, value: object, right: str) -> None:
    """Raise a `UserError` naming key, value and what would be right, unless `ok`."""
    if not ok:
        raise UserError(f"{key}={value} is not possible: {right}.")


def require_one_of(key: str, value: str, options: tuple[str, ...]) -> None:
    """Raise a `UserError` unless `value` is one of `options`."""
    require(value in options, key, value, f"one of {', '.join(options)}")


@dataclass
class DatasetConfig:
    """An image data set and how its images enter the network."""

    name: str
    num_classes: int
    # training images of the smallest class: bounds N1 + M1 without reading data
    class_size: int = field(metadata=NOT_SCIENCE)
    channels: int
    source_size: int  # pixels per side on disk
    resolution: int  # pixels per side in the network
    mean: list[float]
    std: list[float]
    root: str = field(default="data", metadata=NOT_SCIENCE)
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
        require(
            self.num_valid // self.num_classes < self.class_size,
            "dataset.num_valid",
            self.num_valid,
            f"the smallest class has {self.class_size} training images",
        )
        require(0 <= self.crop_pad < self.source_size, "dataset.crop_pad", self.crop_pad, "0 to image size - 1")
        require(self.cutout >= 0, "dataset.cutout", self.cutout, "it is a number of pixels, 0 or more")
        require(self.resolution >= 4, "dataset.resolution", self.resolution, "4 pixels or more, for two halvings")
        for key in ("mean", "std"):
            value = getattr(self, key)
            require(len(value) == self.channels, f"dataset.{key}", value, f"one number per channel ({self.channels})")
        require(all(s > 0 for s in self.std), "dataset.std", self.std, "positive numbers")


@dataclass
class ImbalanceConfig:
    """Class sizes N_k = N1 * gamma_l^(-(k-1)/(C-1)), M_k likewise (paper, App. C.1)."""

    n1: int
    m1: Any  # a number, or "unknown" where the data set brings its unlabeled set
    gamma_l: float
    gamma_u: Any  # a number, "1/100" (reversed), or "unknown"

    def __post_init__(self) -> None:
        require(self.n1 >= 1, "imb.n1", self.n1, "the head class needs at least one labeled image")
        require(self.gamma_l >= 1, "imb.gamma_l", self.gamma_l, "the labeled imbalance is head / tail, 1 or more")
        self.gamma_u = parse_gamma_u(self.gamma_u)
        if self.m1 != UNKNOWN:
            try:
                self.m1 = int(str(self.m1))
            except ValueError:
                require(
                    False,
                    "imb.m1",
                    self.m1,
                    "a number of images, or unknown for a data set with its own unlabeled split",
                )
            require(self.m1 >= 1, "imb.m1", self.m1, "the head class needs at least one unlabeled image")


def parse_gamma_u(value: object) -> float | str:
    """Read an unlabeled imbalance: a positive number, a fraction such as `1/100`, or `unknown`.

    Values below 1 mean the reversed distribution; `0.01` and `1/100` are the same.
    """
    if str(value) == UNKNOWN:
        return UNKNOWN
    try:
        ratio = float(Fraction(str(value)))
    except (ValueError, ArithmeticError):
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
    """The labeled images alone."""

    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS})


@dataclass
class FixMatchAlgorithm(AlgorithmConfig):
    """FixMatch: confident pseudo-labels of a weak view train a strong one."""

    threshold: float = 0.95
    offers: ClassVar[frozenset[Offer]] = frozenset({Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.STRONG})
    unlabeled_ratio: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "algorithm.threshold", self.threshold, "a confidence between 0 and 1")


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


@dataclass
class ModelConfig:
    """A Wide ResNet (depth 6n+4, width factor k)."""

    name: str
    depth: int
    width: int
    stem_stride: int = 1

    def __post_init__(self) -> None:
        require_one_of("model.name", self.name, ("wrn",))
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
        require_one_of("optim.name", self.name, ("sgd",))
        require(self.lr > 0, "optim.lr", self.lr, "a positive learning rate")
        require(0 <= self.momentum < 1, "optim.momentum", self.momentum, "0 or more and below 1")
        require(
            not self.nesterov or self.momentum > 0,
            "optim.momentum",
            self.momentum,
            "Nesterov momentum needs a positive momentum",
        )
        require(self.weight_decay >= 0, "optim.weight_decay", self.weight_decay, "0 or more")
        require(0 <= self.ema_decay < 1, "optim.ema_decay", self.ema_decay, "0 or more and below 1")
        require(0 <= self.warmup <= 1, "optim.warmup", self.warmup, "a fraction of train.steps")
        require(
            all(0 < m <= 1 for m in self.milestones), "optim.milestones", self.milestones, "fractions of train.steps"
        )
        require(self.gamma > 0, "optim.gamma", self.gamma, "a positive factor")
        require(
            0 < self.cosine_ratio <= 8,
            "optim.cosine_ratio",
            self.cosine_ratio,
            "above 0 and at most 8, or the learning rate turns negative",
        )


@dataclass
class TrainConfig:
    """The loop: how long, how often it looks up, and how it computes."""

    steps: int
    batch_size: int
    mu: int  # unlabeled images per labeled image
    eval_every: int
    log_every: int = field(metadata=NOT_SCIENCE)
    checkpoint_every: int = field(metadata=NOT_SCIENCE)
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

    def __post_init__(self) -> None:
        require_one_of("track.name", self.name, ("mlflow", "none"))


ALGORITHMS: dict[str, type[AlgorithmConfig]] = {"supervised": SupervisedAlgorithm, "fixmatch": FixMatchAlgorithm}


@dataclass
class Config:
    """One run."""

    dataset: DatasetConfig
    imb: ImbalanceConfig
    algorithm: AlgorithmConfig
    supervised: SupervisedLossConfig
    align: AlignConfig
    daso: DasoConfig
    model: ModelConfig
    optim: OptimConfig
    train: TrainConfig
    track: TrackConfig = field(metadata=NOT_SCIENCE)
    seed: int = 0
    device: str = field(default="auto", metadata=NOT_SCIENCE)
    out_root: str = field(default="outputs", metadata=NOT_SCIENCE)
    force: bool = field(default=False, metadata=NOT_SCIENCE)
    eval_only: bool = field(default=False, metadata=NOT_SCIENCE)
    # allow a resume on another device type, precision, thread count or torch version
    resume_across: bool = field(default=False, metadata=NOT_SCIENCE)
    run_key: str = field(default="", metadata=NOT_SCIENCE)  # filled by resolve(); never set by hand

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", self.seed, "a whole number from 0 to 4294967295")
        kind, _, index = self.device.partition(":")
        ok = self.device in ("auto", "cpu", "cuda") or (kind == "cuda" and index.isdecimal())
        require(ok, "device", self.device, "auto, cpu, cuda or, for the second GPU, cuda:1")
        require(self.out_root != "", "out_root", self.out_root, "a folder")
