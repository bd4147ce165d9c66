"""Network, optimizer, loop and tracking."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

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


class Passes(Enum):
    """Whether the views of a step share one pass through the network, and with it batch statistics."""

    joint = "joint"
    separate = "separate"


WORTH_COMPILING = 20_000  # steps: compiling takes a minute or two and saves some 7 ms a step


class Schedule(Enum):
    """How the learning rate moves with the step."""

    constant = "constant"
    multistep = "multistep"
    cosine = "cosine"


FIXMATCH = "algorithm=fixmatch"
LEARNS_UNLABELED = "a learner of unlabeled images"
STEPS = "optim.schedule=multistep"
COSINE = "optim.schedule=cosine"
SGD = "optim.name=sgd"
RESNETS = {18: 512, 34: 512, 50: 2048}  # depth -> features
WRN_FEATURES = 64  # of a Wide ResNet, per unit of width


class EmaBuffers(Enum):
    """What the EMA network's running statistics are: an average over steps, or the trained network's own."""

    average = "average"
    copy = "copy"


class Decay(Enum):
    """Where weight decay acts: in the optimizer's gradient, or, after each step, on the weights as a factor
    1 - weight_decay * rate; `state`: on the running statistics too.
    """

    gradient = "gradient"
    weights = "weights"
    state = "state"


PERIODIC = Reader("a method that changes something once a period", lambda c: c.periodic)


def _of_wrn(neutral: object) -> dict[str, Any]:
    """The metadata of a knob of Wide ResNets that came later."""
    return {"neutral": neutral} | read_by(Reader("model.name=wrn", lambda c: c.model.name == "wrn", lambda c: neutral))


@dataclass
class ModelConfig:
    """The encoder: a Wide ResNet (`wrn`, depth 6n+4, width factor k), or a ResNet of depth 18, 34 or 50 (`resnet`)."""

    name: str
    depth: int
    width: int = 1
    stem_stride: int = 1
    # where a resnet starts: a file, or imagenet for torchvision's in torch's cache; empty: from random weights
    weights: str = field(default="", metadata=NOT_SCIENCE)
    weights_checksum: str = field(default="", metadata={"neutral": ""})  # of that file; filled by resolve()
    # weight of a new batch in the running statistics, and what is added to the variance
    bn_momentum: float = field(default=0.1, metadata=_of_wrn(0.1))
    bn_eps: float = field(default=1e-5, metadata=_of_wrn(1e-5))
    last_bn_eps: float = field(default=1e-5, metadata=_of_wrn(1e-5))  # of the normalisation behind the blocks
    stem_bias: bool = field(default=False, metadata=_of_wrn(False))
    # whether the first block of stages 2 and 3 convolves its input as it comes, not normalised and rectified (USB)
    raw_branch: bool = field(default=False, metadata=_of_wrn(False))

    def __post_init__(self) -> None:
        require_one_of("model.name", self.name, ("wrn", "resnet"))
        require(1 <= self.width <= 256, "model.width", self.width, "a width factor, 1 to 256")
        require(self.stem_stride in (1, 2), "model.stem_stride", self.stem_stride, "1 or 2")
        right = "the weight of a new batch, above 0 and at most 1"
        require(0 < self.bn_momentum <= 1, "model.bn_momentum", self.bn_momentum, right)
        for key in ("bn_eps", "last_bn_eps"):
            require(getattr(self, key) > 0, f"model.{key}", getattr(self, key), "a small positive number")
        if self.name == "resnet":
            require(self.depth in RESNETS, "model.depth", self.depth, f"one of {', '.join(map(str, RESNETS))}")
            for key in ("width", "stem_stride"):
                value = getattr(self, key)
                require(value == 1, f"model.{key}", value, "a ResNet has one shape for each depth, so 1")
            return
        require(self.depth >= 10 and (self.depth - 4) % 6 == 0, "model.depth", self.depth, "10, 16, 22, 28, 34, ...")
        require(self.depth <= 1000, "model.depth", self.depth, "1000 layers at most")
        require(not self.weights, "model.weights", self.weights, "there are files for a ResNet, such as model=resnet34")

    @property
    def features(self) -> int:
        """D, the width of what the encoder gives."""
        return RESNETS[self.depth] if self.name == "resnet" else WRN_FEATURES * self.width

    def map_side(self, resolution: int) -> int:
        """Pixels on a side of the last maps, which are averaged, for images of `resolution` pixels."""
        halved = 5 if self.name == "resnet" else 2 + (self.stem_stride == 2)
        return -(-resolution // (1 << halved))


def _of_decay(neutral: object) -> dict[str, Any]:
    """The metadata of a knob of weight decay that came later."""
    positive = Reader("optim.weight_decay above 0", lambda c: c.optim.weight_decay > 0, lambda c: neutral)
    return {"neutral": neutral} | read_by(positive)


def _of_average(neutral: object) -> dict[str, Any]:
    """The metadata of a knob of the averaged network that came later; without a memory it is the trained one."""
    learns = Reader(LEARNS_UNLABELED, lambda c: c.algorithm.reads_unlabeled, lambda c: neutral)
    remembers = Reader("optim.ema_decay above 0", lambda c: c.optim.ema_decay > 0, lambda c: neutral)
    return {"neutral": neutral} | read_by(learns, remembers)


@dataclass
class OptimConfig:
    """SGD with Nesterov momentum, or Adam; the learning-rate schedule, and the EMA of the weights.

    Positions are fractions of `train.steps`, equal to the reference at 250,000 steps.
    """

    name: str
    lr: float
    schedule: Schedule
    # of SGD; Adam's rates are 0.9 and 0.999, its eps 1e-8
    momentum: float = field(default=0.9, metadata=read_by(Reader(SGD, lambda c: c.optim.name == "sgd", lambda c: 0.9)))
    nesterov: bool = field(default=True, metadata=read_by(Reader(SGD, lambda c: c.optim.name == "sgd", lambda c: True)))
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
        metadata=read_by(
            Reader(STEPS, lambda c: c.optim.schedule is Schedule.multistep, lambda c: []),
            Reader("optim.gamma other than 1", lambda c: c.optim.gamma != 1, lambda c: []),
        ),
    )
    gamma: float = field(
        default=0.2,
        metadata=read_by(
            Reader(STEPS, lambda c: c.optim.schedule is Schedule.multistep, lambda c: 0.2),
            Reader("optim.milestones", lambda c: len(c.optim.milestones) > 0, lambda c: 0.2),
        ),
    )
    cosine_ratio: float = field(
        default=7.0,
        metadata=read_by(Reader(COSINE, lambda c: c.optim.schedule is Schedule.cosine, lambda c: 7.0)),
    )
    # whether weight decay acts on normalisation and biases too, as in the reference (Q20)
    decay_norm_bias: bool = field(default=True, metadata=_of_decay(True))
    decay: Decay = field(default=Decay.gradient, metadata=_of_decay(Decay.gradient))
    # whether a cosine begins where a warm-up ends; else at the first step, multiplied by the warm-up
    cosine_after_warmup: bool = field(
        default=False,
        metadata={"neutral": False}
        | read_by(
            Reader(COSINE, lambda c: c.optim.schedule is Schedule.cosine, lambda c: False),
            Reader("optim.warmup above 0", lambda c: c.optim.warmup > 0, lambda c: c.recipe.name == "usb"),
        ),
    )
    # whether the EMA begins as a copy: its decay is min(1 - 1 / (step + 1), ema_decay)
    ema_warmup: bool = field(
        default=True,
        metadata=_of_average(True),
    )
    ema_buffers: EmaBuffers = field(
        default=EmaBuffers.average,
        metadata=_of_average(EmaBuffers.average),
    )

    def __post_init__(self) -> None:
        require_one_of("optim.name", self.name, ("sgd", "adam"))
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


EPOCH = "epoch"  # of eval_every


@dataclass
class TrainConfig:
    """The loop: how long, how often it looks up, and how it computes.

    An epoch is one pass over the unlabeled set, or over the labeled one where nothing else is learned from; epochs run
    on across batches, so that epoch k ends after round(k * epoch) steps.
    """

    steps: int
    batch_size: int
    # unlabeled images per labeled image
    mu: int = field(
        metadata=read_by(
            Reader(LEARNS_UNLABELED, lambda c: c.algorithm.reads_unlabeled, lambda c: c.algorithm.unlabeled_ratio)
        )
    )
    eval_every: Any  # steps, or `epoch`
    log_every: int = field(metadata=NOT_SCIENCE)
    checkpoint_every: int = field(metadata=NOT_SCIENCE)
    # steps of what published codes call an epoch: the period of a method that changes something once a period, unless
    # its own knob is set
    period: int = field(default=500, metadata=NOT_SCIENCE | read_by(PERIODIC))
    precision: Precision = Precision.auto
    channels_last: bool = True
    # auto reproduces none's numbers within rounding, so it is the same run
    compile: Compile = field(default=Compile.auto, metadata={"same": {Compile.auto: Compile.none}})
    deterministic: bool = True
    threads: int = 1  # CPU threads; bit equality depends on it
    passes: Passes = field(
        default=Passes.joint,
        metadata={"neutral": Passes.joint}
        | read_by(Reader(FIXMATCH, lambda c: c.algorithm.name == "fixmatch", lambda c: Passes.joint)),
    )
    epochs: float = field(default=0.0, metadata={"neutral": 0.0})  # how long, in place of steps, which then follow
    epoch: float = field(default=0.0, metadata={"neutral": 0.0})  # steps of one, where it matters; filled by resolve()

    def __post_init__(self) -> None:
        for key in ("steps", "batch_size", "mu", "log_every", "checkpoint_every", "period", "threads"):
            require(getattr(self, key) >= 1, f"train.{key}", getattr(self, key), "1 or more")
        require(self.batch_size <= 2**16, "train.batch_size", self.batch_size, f"{2**16} images at most")
        require(self.mu <= 2**10, "train.mu", self.mu, f"{2**10} unlabeled images per labeled one at most")
        every = self.eval_every
        right = f"a number of steps, 1 or more, or {EPOCH}"
        require(every == EPOCH or (type(every) is int and every >= 1), "train.eval_every", every, right)
        require(self.epochs >= 0, "train.epochs", self.epochs, "a number of epochs, or 0 for train.steps")

    @property
    def evaluations(self) -> int:
        """How often a run of `steps` is evaluated."""
        if self.eval_every != EPOCH:
            return -(-self.steps // int(self.eval_every))
        before = int(self.steps / self.epoch) + 1  # epochs that end before the run does
        while round(before * self.epoch) >= self.steps:
            before -= 1
        return min(before + 1, self.steps)

    def evaluates(self, step: int) -> bool:
        """Whether a run is evaluated after `step` finished steps; always at its end."""
        if self.eval_every != EPOCH:
            return bool(step % self.eval_every == 0) or step == self.steps
        ends = (round(k * self.epoch) for k in range(int(step / self.epoch), int(step / self.epoch) + 2))
        return step in ends or step == self.steps


WINDOW = 20  # the paper's number is the median of the last 20 evaluations (section 4.1)
_LAST = f"the last {WINDOW} evaluations"
RULES = {
    "median20": f"median of {_LAST}",
    "mean20": f"mean of {_LAST}",
    "best": "best evaluation, selected on the set itself",
}
"""How one number is made of a run's evaluations."""


NO_WINDOW = f" (there are no {WINDOW})"


def of_evaluations(text: str, evaluations: int) -> str:
    """A text about the last 20 evaluations, said of a run that has so many: where there are no 20, it is all of them.

    Args:
        text: such as a value of `RULES`.
        evaluations: how often the run was evaluated.
    """
    fewer = f"all {evaluations} evaluations" if evaluations > 1 else "the only evaluation"
    return text.replace(_LAST, f"{fewer}{NO_WINDOW}") if evaluations < WINDOW else text


REPORTABLE = tuple(f"{metric}_{rule}" for metric in ("top1", "bacc") for rule in RULES)


@dataclass
class RecipeConfig:
    """Whose code base a run follows in data, optimisation, network and evaluation: a name for the values that
    `recipe=` sets, and the number that is reported there.
    """

    name: str = "daso"
    reports: str = "top1_median20"

    def __post_init__(self) -> None:
        require_one_of("recipe.reports", self.reports, REPORTABLE)


TRACKERS = ("mlflow", "tensorboard", "wandb")


@dataclass
class TrackConfig:
    """Where metrics are mirrored. The run directory's JSONL is written in any case.

    Each option switches its tracker on, so that `track=[mlflow,tensorboard]` has both; `name` is that of the last one,
    and enough for an option file of one's own.
    """

    name: str
    uri: str = ""  # of MLflow's store
    experiment: str = "daso"  # in MLflow; in W&B the project
    mlflow: bool = False
    tensorboard: bool = False
    wandb: bool = False
    per_class: bool = False  # whether values per class are metrics

    def __post_init__(self) -> None:
        require_one_of("track.name", self.name, (*TRACKERS, "none"))
        require(self.name != "none" or not self.trackers, "track.name", self.name, "track=none, which switches all off")

    @property
    def trackers(self) -> tuple[str, ...]:
        """The trackers that are told of a run."""
        return tuple(name for name in TRACKERS if name == self.name or getattr(self, name))
