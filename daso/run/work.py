"""What one step of a run computes and moves: counted, operation by operation, without doing any of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from daso.data.sources import Arrays
from daso.data.split import Split
from daso.run.build import build
from daso.run.stages import own
from daso.schema import Compile, Config, Precision
from daso.train.capture import Graphs
from daso.train.engine import NOISE
from daso.train.step import total_loss
from daso.types import Clock

CPU = torch.device("cpu")
PER_WEIGHT = 10 * 4  # bytes that optimizer and average move for a weight, in fp32
IMAGES = 2  # of a class in each set that the step is built on; it reads as many as it always does


class Operation(NamedTuple):
    """A kernel, more or less."""

    flops: int  # multiplications and additions; of products and convolutions alone
    octets: int  # that it reads and writes, each argument once


class Work(NamedTuple):
    """What a step does."""

    operations: list[Operation]  # with 2 bytes for a number of the network
    weight_octets: int  # what optimizer and average move, in fp32 whatever the rest is in

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return sum(operation.flops for operation in self.operations)

    @property
    def octets(self) -> int:
        """Bytes that are read and written."""
        return sum(operation.octets for operation in self.operations)


def work_of(config: Config) -> Work:
    """The work of a step in the middle of a phase of the run that `config` itself trains.

    Views, learner, slots and network are the run's own; tensors have shapes and no values, as when a compiler traces a
    step, so it is known of whatever can be compiled. An operation that hides others counts as one.
    """
    train = replace(config.train, compile=Compile.none, precision=Precision.fp32, channels_last=True)
    config = own(replace(config, train=train, darp=replace(config.darp, goal="labeled")))  # reads no other run
    static = cast(Graphs, object())  # the form of the views that a GPU has; nothing is recorded
    parts = build(config, CPU, *_few_images(config), dtype=torch.bfloat16, graphs=static)
    steps, counted = config.phase_steps, _Counted()
    given = parts.engine.draw(0, steps // 2, steps, 0.0)
    noise = {name.removeprefix(NOISE): value for name, value in given.items() if name.startswith(NOISE)}
    clock = Clock(*(given[f"clock/{name}"] for name in Clock._fields))
    with FakeTensorMode(allow_non_fake_inputs=True), counted:
        flags = parts.method.flags(steps // 2)
        batch, _ = parts.feed.batch(given, flags)
        outcome = parts.learner(parts.nets, batch, parts.slots, noise, clock, flags)
        total_loss(outcome.losses).backward()  # type: ignore[no-untyped-call]
    return Work(counted.operations, PER_WEIGHT * sum(p.numel() for p in parts.nets.student.parameters()))


class _Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation but those that only look at a tensor in another way."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        looks = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        if func.namespace != "prim" and not looks:
            count = flop_registry.get(func._overloadpacket)
            flops = 0 if count is None else count(*args, **kwargs, out_val=result)
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            self.operations.append(Operation(flops, sum(t.numel() * t.element_size() for t in tensors)))
        return result


def _few_images(config: Config) -> tuple[Arrays, Split]:
    data = config.dataset
    y = np.repeat(np.arange(data.num_classes), IMAGES)
    x = np.zeros((len(y), data.channels, data.source_size, data.source_size), dtype=np.uint8)
    rows, none = np.arange(len(y)), np.zeros(0, dtype=np.int64)
    batch = config.train.batch_size * config.train.mu  # which some methods want the set to fill
    unlabeled = np.resize(rows, max(len(rows), batch)) if config.reads_unlabeled else none
    return Arrays(x, y, x, y, None), Split(rows, unlabeled, none)
