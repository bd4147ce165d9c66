"""From a configuration to the objects of a run: the only file that knows every concrete class."""

from collections.abc import Callable
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
from daso.machine.execution import build_autocast, effective_compile, effective_precision
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
from daso.run.stages import assumed_counts, encoder_of
from daso.train.capture import CudaGraphs, Graphs
from daso.train.engine import Engine
from daso.train.loop import Parts
from daso.train.meters import Meters
from daso.train.optimizer import build_optimizer
from daso.train.rng import generator
from daso.train.step import TrainStep
from daso.types import Nets, Sizes, View


def build(
    config: Config,
    device: torch.device,
    arrays: Arrays,
    split: Split,
    dtype: torch.dtype = torch.float32,
    graphs: Graphs | None = None,
) -> Parts:
    """Put a run together.

    Args:
        config: the resolved configuration.
        device: where everything lives.
        arrays, split: the data set and which of its rows play which part.
        dtype: of parameters, buffers and images (float64 for parity tests).
        graphs: records steps and evaluations; by default what `train.compile` asks for.
    """
    classes = config.dataset.num_classes
    pool = Pool.build(arrays, split, classes, device)
    mode = effective_compile(config.train, device)
    if mode is Compile.graph:
        graphs = graphs or CudaGraphs(device)
    static = device.type == "cuda" or graphs is not None
    views = Views(ViewSpec.of(config.dataset), form="static" if static else "grouped").to(device)
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
    feed = Feed(
        pool=pool,
        views=views,
        unlabeled_views=learner.views,
        labeled=partial(build_labeled_stream, config),
        unlabeled=unlabeled,
        sizes=sizes,
        generator=keyed,
        dtype=dtype,
    )
    step = TrainStep(
        nets, learner, slots, optimizer, config.optim.ema_decay, autocast, compiled=mode is not Compile.none
    )
    meters = Meters(classes, threshold, device, learner.train_accuracy)
    draws = learner.draws(sizes) | slots.draws(sizes)

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
        engine=Engine(feed, step, meters, draws, keyed, device, mode, graphs),
        graphs=graphs,
        feed=feed,
        views=views,
        resize=resize,
        meters=meters,
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


def data_of(config: Config) -> tuple[Arrays, Split]:
    """Load the data set and split it; nothing here depends on torch's random state."""
    from daso.data import index_files
    from daso.data.sources import load
    from daso.data.split import hold_out, make_split

    estimates = config.protocol.name == "estimate"
    arrays = load(config.dataset)
    extra = 0 if arrays.unlabeled_x is None else len(arrays.unlabeled_x)
    labels = np.asarray(arrays.train_y)
    if config.dataset.splits:
        split = index_files.fitting(index_files.imported(config), config, labels, extra)
    else:
        split = make_split(labels, config.dataset, config.imb, config.seed, config.reads_unlabeled, extra)
    if estimates:
        split = hold_out(split, labels, config.dataset.num_classes, config.protocol.holdout)
    return arrays, split
