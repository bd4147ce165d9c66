"""From a configuration to the objects of a run."""

from functools import partial

import torch
from torch import Tensor

from daso.data.feed import Feed
from daso.data.images.listing import OUT
from daso.data.pool import RaggedPool
from daso.data.split import Split
from daso.data.views import Views, ViewSpec, draw
from daso.data.views.boxes import longest_box
from daso.machine.execution import build_autocast, effective_compile, effective_precision
from daso.run.build.data import Data, aside_stream, data_of, labeled_stream, pool_of, true_priors, unlabeled_stream
from daso.run.build.networks import build_nets
from daso.run.build.parts import build_method, build_protocol, facts_of
from daso.schema import Compile, Config
from daso.train.capture import CudaGraphs, Graphs
from daso.train.engine import Engine
from daso.train.loop import Parts
from daso.train.meters import Meters
from daso.train.optimizer import build_optimizer
from daso.train.rng import generator
from daso.train.step import TrainStep
from daso.types import View

__all__ = ["build", "data_of"]


def build(
    config: Config,
    device: torch.device,
    data: Data,
    split: Split,
    dtype: torch.dtype = torch.float32,
    graphs: Graphs | None = None,
) -> Parts:
    """Put a run together.

    Args:
        config: the resolved configuration.
        device: where everything lives.
        data, split: the data set and which of its rows play which part.
        dtype: of parameters, buffers and images (float64 for parity tests).
        graphs: records steps and evaluations; by default what `train.compile` asks for.
    """
    classes = config.dataset.num_classes
    pool = pool_of(config, data, split, device)
    mode = effective_compile(config.train, device)
    if mode is Compile.graph:
        graphs = graphs or CudaGraphs(device)
    static = device.type == "cuda" or graphs is not None
    longest = longest_box(pool.images.size) if isinstance(pool, RaggedPool) else 0
    views = Views(ViewSpec.of(config.dataset), "static" if static else "grouped", longest).to(device)
    keyed = partial(generator, config.seed)

    unlabeled = 0 if pool.unlabeled_y is None else len(pool.unlabeled_y)
    facts = facts_of(config, pool.counts, unlabeled, split, pool.shared)
    method = build_method(config, facts, device, dtype)
    nets = build_nets(config, method.heads, device, dtype, method.learner.norms)
    optimizer = build_optimizer(nets.student, config.optim)
    autocast = build_autocast(effective_precision(config.train.precision, device), device)
    feed = Feed(
        pool=pool,
        views=views,
        unlabeled_views=method.learner.views,
        labeled=partial(labeled_stream, config),
        unlabeled=unlabeled_stream(config, facts.unlabeled) if facts.unlabeled else None,
        sizes=facts.sizes,
        generator=keyed,
        dtype=dtype,
        labeled_views=method.learner.labeled_views,
        further_views=method.further_views,
        wants=method.wants,
        aside=partial(aside_stream, config, method.wants),
    )
    compiled = mode is not Compile.none
    step = TrainStep(nets, method.learner, method.slots, optimizer, config.optim, autocast, compiled)
    prior, everything = true_priors(pool, classes)
    outside = pool.unlabeled_y is not None and bool((pool.unlabeled_y == OUT).any())
    meters = Meters(classes, facts.threshold, device, method.learner.train_accuracy, prior, everything, outside)

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
        method=method,
        optimizer=optimizer,
        protocol=build_protocol(config, facts),
        engine=Engine(feed, step, meters, method.draws(facts.sizes), keyed, device, mode, graphs),
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
