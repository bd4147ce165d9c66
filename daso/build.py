"""From a configuration to the objects of a run: the only file that knows every concrete class."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from daso.data.feed import Feed
from daso.data.pool import Pool
from daso.data.sources import Arrays
from daso.data.split import Split
from daso.data.streams import Stream, class_aware_round, permutation_round
from daso.data.views import Views, ViewSpec, draw
from daso.errors import UserError
from daso.learners.base import Learner
from daso.learners.fixmatch import FixMatch
from daso.learners.meanteacher import MeanTeacher
from daso.learners.mixmatch import MixMatch
from daso.learners.pseudolabel import PseudoLabel
from daso.learners.remixmatch import ReMixMatch
from daso.learners.retrain import Retrain
from daso.learners.supervised import Supervised
from daso.learners.usadtm import Usadtm
from daso.nn.net import Net
from daso.nn.wrn import FEATURES, WideResNet
from daso.protocol.base import Protocol
from daso.protocol.crest import Crest
from daso.protocol.crt import Crt
from daso.protocol.estimate import Estimate
from daso.schema import (
    AlgorithmConfig,
    Compile,
    Config,
    FixMatchAlgorithm,
    FrozenBn,
    MeanTeacherAlgorithm,
    MixMatchAlgorithm,
    Precision,
    PseudoLabelAlgorithm,
    ReMixMatchAlgorithm,
    RetrainAlgorithm,
    SupervisedAlgorithm,
    UsadtmAlgorithm,
)
from daso.slots.abc import Abc
from daso.slots.align import DistributionAlignment
from daso.slots.base import LabeledLoss
from daso.slots.boss import Boss
from daso.slots.darp import Darp
from daso.slots.daso import Daso
from daso.slots.reweighting import ClassBalanced, MarginBalanced
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy, LogitAdjusted
from daso.stages import assumed_counts, encoder_of
from daso.train.loop import Parts
from daso.train.meters import Meters
from daso.train.optimizer import build_optimizer
from daso.train.rng import generator
from daso.train.step import TrainStep
from daso.types import Nets, Sizes, View


def resolve_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one; anything else is taken at its word.

    Raises:
        UserError: the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device={name} is not a device: auto, cpu, cuda or cuda:1 would be.") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device={name} is not supported: auto, cpu, cuda or cuda:1 would be.")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            found = f"{count} GPU{'s' * (count > 1)}" if count else "no CUDA"
            raise UserError(
                f"device={name} is not here: this machine has {found}; device=cpu or device=auto would run."
            )
    return device


def configure_torch(config: Config, device: torch.device) -> dict[str, Any]:
    """Set every process-wide switch of torch that a run depends on; returns what bit equality depends on.

    Jobs of one sweep share a process, so each sets them all.

    Raises:
        UserError: a precision that the device cannot do.
    """
    train = config.train
    precision = effective_precision(train.precision, device)
    torch.set_num_threads(train.threads)
    torch.backends.cuda.matmul.allow_tf32 = precision is Precision.tf32
    torch.backends.cudnn.allow_tf32 = precision is Precision.tf32
    torch.backends.cudnn.benchmark = not train.deterministic
    torch.backends.cudnn.deterministic = train.deterministic
    return {
        "device": device.type,
        "precision": precision.value,
        "threads": train.threads,
        "torch": str(torch.__version__),
    }


def effective_precision(precision: Precision, device: torch.device) -> Precision:
    """What `train.precision` means on a device: auto is tf32 on CUDA, fp32 on the CPU."""
    if precision is Precision.auto:
        return Precision.tf32 if device.type == "cuda" else Precision.fp32
    if precision is Precision.tf32 and device.type == "cpu":
        raise UserError("train.precision=tf32 is not possible on a CPU: fp32, bf16 or auto would be.")
    return precision


def build(
    config: Config,
    device: torch.device,
    arrays: Arrays,
    split: Split,
    dtype: torch.dtype = torch.float32,
) -> Parts:
    """Put a run together.

    Args:
        config: the resolved configuration.
        device: where everything lives.
        arrays, split: the data set and which of its rows play which part.
        dtype: of parameters, buffers and images (float64 for parity tests).
    """
    classes = config.dataset.num_classes
    pool = Pool.build(arrays, split, classes, device)
    views = Views(ViewSpec.of(config.dataset), form="static" if device.type == "cuda" else "grouped").to(device)
    keyed = partial(generator, config.seed)

    learner = build_learner(config, pool.counts).to(device=device, dtype=dtype)
    unlabeled_rows = 0 if pool.unlabeled_y is None else len(pool.unlabeled_y)
    threshold = getattr(config.algorithm, "threshold", FixMatchAlgorithm.threshold)
    slots = build_slots(config, pool.counts, unlabeled_rows, threshold).to(device=device, dtype=dtype)
    nets = build_nets(config, tuple(dict.fromkeys((*learner.heads, slots.head))), device, dtype)
    optimizer = build_optimizer(nets.student, config.optim)
    sizes = Sizes(config.train.batch_size, config.train.batch_size * config.train.mu)
    autocast = build_autocast(effective_precision(config.train.precision, device), device)
    unlabeled = build_stream(config.seed, "unlabeled", unlabeled_rows) if unlabeled_rows else None

    def resize(images: Tensor) -> Tensor:
        nothing = draw(View.IDENTITY, 0, torch.Generator(), views.spec)
        return torch.cat([views.augment(chunk, View.IDENTITY, nothing) for chunk in torch.split(images, 1000)])

    splits = {"test": (resize(pool.test_x), pool.test_y)}
    if pool.valid_x is not None and pool.valid_y is not None:
        splits = {"valid": (resize(pool.valid_x), pool.valid_y)} | splits
    return Parts(
        config=config,
        device=device,
        nets=nets,
        learner=learner,
        slots=slots,
        optimizer=optimizer,
        protocol=build_protocol(config, pool, split),
        step=TrainStep(
            nets, learner, slots, optimizer, config.optim.ema_decay, autocast, config.train.compile is Compile.default
        ),
        feed=Feed(
            pool=pool,
            views=views,
            unlabeled_views=learner.views,
            labeled=partial(build_labeled_stream, config),
            unlabeled=unlabeled,
            sizes=sizes,
            generator=keyed,
            dtype=dtype,
        ),
        views=views,
        resize=resize,
        meters=Meters(classes, threshold, device, learner.train_accuracy),
        draws=learner.draws(sizes) | slots.draws(sizes),
        generator=keyed,
        splits=splits,
        counts=pool.counts.tolist(),
        autocast=autocast,
    )


def build_learner(config: Config, counts: Tensor) -> Learner:
    """The learner that `algorithm` names, for labeled class counts [C]."""
    known: dict[type[AlgorithmConfig], Callable[[Any], Learner]] = {
        SupervisedAlgorithm: lambda _: Supervised(),
        PseudoLabelAlgorithm: PseudoLabel,
        MeanTeacherAlgorithm: MeanTeacher,
        MixMatchAlgorithm: MixMatch,
        ReMixMatchAlgorithm: ReMixMatch,
        UsadtmAlgorithm: lambda algorithm: Usadtm(algorithm, features_of(config), counts.tolist()),
        FixMatchAlgorithm: lambda algorithm: FixMatch(algorithm.threshold),
        RetrainAlgorithm: lambda algorithm: Retrain(running_stats=algorithm.bn is FrozenBn.clean),
    }
    return known[type(config.algorithm)](config.algorithm)


def features_of(config: Config) -> int:
    """D, the width of the encoder."""
    return FEATURES * config.model.width


def build_nets(config: Config, heads: tuple[str, ...], device: torch.device, dtype: torch.dtype) -> Nets:
    """Student and teacher, equal at the start; the weights are drawn from the run's seed, on the CPU."""
    layout = torch.channels_last if config.train.channels_last else torch.contiguous_format

    def make() -> Net:
        model = config.model
        encoder = WideResNet(model.depth, model.width, config.dataset.channels, model.stem_stride)
        return Net(encoder, config.dataset.num_classes, heads)

    student, teacher = make(), make().requires_grad_(False)
    student.init(generator(config.seed, "init"))
    teacher.load_state_dict(student.state_dict())
    for net in (student, teacher):
        net.to(device=device, dtype=dtype).to(memory_format=layout)
    return Nets(student, teacher)


def build_slots(config: Config, counts: Tensor, unlabeled: int, threshold: float) -> Slots:
    """The slots that the configuration fills.

    Args:
        counts: [C] labeled images per class.
        unlabeled: images of the unlabeled set.
        threshold: the learner's, of a pseudo-label's confidence.
    """
    align, darp, daso, classes = config.align, config.darp, config.daso, len(counts)
    goal, refine = counts, None
    if darp.name == "darp":
        assumed = torch.tensor(assumed_counts(config, unlabeled), dtype=torch.float64)
        refine = Darp(assumed, unlabeled, config.phase_steps, darp)
        goal = assumed if align.goal == "refine" else counts
    return Slots(
        supervised=build_labeled_loss(config, counts),
        align=DistributionAlignment(goal, align.temperature, align.window) if align.name == "da" else None,
        refine=refine,
        semantic=Daso(classes, features_of(config), daso, counts.tolist()) if daso.name == "daso" else None,
        confidence=Boss(classes, config.confidence.delta) if config.confidence.name == "boss" else None,
        extras=[Abc(counts, threshold, config.abc)] if config.abc.name == "abc" else [],
    )


def build_labeled_loss(config: Config, counts: Tensor) -> LabeledLoss:
    """The labeled loss that `supervised` names, for labeled class counts [C]."""
    loss = config.supervised
    start = round(loss.defer * config.phase_steps) - 1  # in the reference, the 200,000th step is the first of them
    known: dict[str, Callable[[], LabeledLoss]] = {
        "ce": CrossEntropy,
        "la": lambda: LogitAdjusted(counts, loss.tau),
        "cb": lambda: ClassBalanced(counts, loss.beta, start),
        "ldam_drw": lambda: MarginBalanced(counts, loss.beta, start, loss.max_margin, loss.scale, loss.margins_at_once),
    }
    return known[loss.name]()


def build_protocol(config: Config, pool: Pool, split: Split) -> Protocol:
    """What happens between the phases of the run."""
    protocol, steps = config.protocol, config.train.steps
    if protocol.name == "none":
        return Protocol(steps)
    if protocol.name == "crt":
        return Crt(steps, partial(encoder_of, config, split))
    if protocol.name == "estimate":
        return Estimate(steps, config.dataset.num_classes, protocol.max_condition)
    assert pool.unlabeled_y is not None, "a generation selects from the unlabeled set"
    t_min = protocol.t_min if protocol.name == "crest_plus" else None
    return Crest(steps, protocol.generations, pool.counts, len(pool.unlabeled_y), protocol.alpha, t_min)


def build_labeled_stream(config: Config, labels: Tensor, phase: int) -> Stream:
    """An endless, stateless stream of row numbers of a labeled set with `labels` [N], from the start of a phase."""
    sampler = config.sampler
    aware = sampler.name == "class_aware"
    round = class_aware_round(labels.cpu(), sampler.beta) if aware else permutation_round(len(labels))
    return Stream(partial(generator, config.seed, "rows/labeled" if phase == 0 else f"rows/labeled/{phase}"), round)


def build_stream(seed: int, name: str, rows: int) -> Stream:
    """An endless, stateless stream of row numbers: one permutation after another."""
    return Stream(partial(generator, seed, f"rows/{name}"), permutation_round(rows))


def build_autocast(precision: Precision, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """The context of a forward pass."""
    if precision is Precision.bf16:
        return partial(torch.autocast, device.type, dtype=torch.bfloat16)
    return nullcontext


def data_of(config: Config) -> tuple[Arrays, Split]:
    """Load the data set and split it; nothing here depends on torch's random state."""
    from daso.data.sources import load
    from daso.data.split import hold_out, make_split

    estimates = config.protocol.name == "estimate"
    arrays = load(config.dataset)
    extra = 0 if arrays.unlabeled_x is None else len(arrays.unlabeled_x)
    with_unlabeled = estimates or not isinstance(config.algorithm, SupervisedAlgorithm | RetrainAlgorithm)
    labels = np.asarray(arrays.train_y)
    split = make_split(labels, config.dataset, config.imb, config.seed, with_unlabeled, extra)
    if estimates:
        split = hold_out(split, labels, config.dataset.num_classes, config.protocol.holdout)
    return arrays, split
