"""Network, optimizer, loop and tracking."""

from dataclasses import dataclass, field
from enum import Enum

from daso.schema.base import NOT_SCIENCE, Reader, read_by, require, require_one_of


class Precision(Enum):
    """The arithmetic of a training step; `auto` is the device's best safe choice."""

    auto = "auto"
    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"


class Compile(Enum):
    """How steps and evaluations are executed; `auto` is the device's best safe choice for the length of the run.

    `none`: one operation after the other. `default`: through `torch.compile`. `graph`: so, and then as one CUDA graph.
    """

    auto = "auto"
    none = "none"
    default = "default"
    graph = "graph"


WORTH_COMPILING = 20_000  # steps: compiling takes a minute or two and saves some 7 ms a step


class Schedule(Enum):
    """How the learning rate moves with the step."""

    constant = "constant"
    multistep = "multistep"
    cosine = "cosine"


LEARNS_UNLABELED = "a learner of unlabeled images"
STEPS = "optim.schedule=multistep"


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
        require(self.depth <= 1000, "model.depth", self.depth, "1000 layers at most")
        require(1 <= self.width <= 256, "model.width", self.width, "a width factor, 1 to 256")
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
    # of the averaged network, which answers where unlabeled images are learned from
    ema_decay: float = field(
        default=0.999,
        metadata=read_by(
            Reader(LEARNS_UNLABELED, lambda c: c.algorithm.reads_unlabeled, lambda c: 0.995 if c.miniature else 0.999)
        ),
    )
    warmup: float = 0.0
    milestones: list[float] = field(
        default_factory=list,
        metadata=read_by(Reader(STEPS, lambda c: c.optim.schedule is Schedule.multistep, lambda c: [])),
    )
    gamma: float = field(
        default=0.2,
        metadata=read_by(Reader(STEPS, lambda c: c.optim.schedule is Schedule.multistep, lambda c: 0.2)),
    )
    cosine_ratio: float = field(
        default=7.0,
        metadata=read_by(Reader("optim.schedule=cosine", lambda c: c.optim.schedule is Schedule.cosine, lambda c: 7.0)),
    )
    # whether weight decay acts on normalisation and biases too, as in the reference (Q20)
    decay_norm_bias: bool = field(default=True, metadata={"neutral": True})

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
    # unlabeled images per labeled image
    mu: int = field(
        metadata=read_by(
            Reader(LEARNS_UNLABELED, lambda c: c.algorithm.reads_unlabeled, lambda c: c.algorithm.unlabeled_ratio)
        )
    )
    eval_every: int
    log_every: int = field(metadata=NOT_SCIENCE)
    checkpoint_every: int = field(metadata=NOT_SCIENCE)
    precision: Precision = Precision.auto
    channels_last: bool = True
    # auto reproduces none's numbers within rounding, so it is the same run
    compile: Compile = field(default=Compile.auto, metadata={"same": {Compile.auto: Compile.none}})
    deterministic: bool = True
    threads: int = 1  # CPU threads; bit equality depends on it

    def __post_init__(self) -> None:
        for key in ("steps", "batch_size", "mu", "eval_every", "log_every", "checkpoint_every", "threads"):
            require(getattr(self, key) >= 1, f"train.{key}", getattr(self, key), "1 or more")
        require(self.batch_size <= 2**16, "train.batch_size", self.batch_size, f"{2**16} images at most")
        require(self.mu <= 2**10, "train.mu", self.mu, f"{2**10} unlabeled images per labeled one at most")


@dataclass
class TrackConfig:
    """Where metrics are mirrored: `mlflow` or `none`. The run directory's JSONL is written in any case."""

    name: str
    uri: str = ""
    experiment: str = "daso"

    def __post_init__(self) -> None:
        require_one_of("track.name", self.name, ("mlflow", "none"))
