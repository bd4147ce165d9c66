"""A step is one graph: it traces whole, gives the eager numbers, and is traced once per combination of flags."""

import itertools

import pytest
import torch
import torch._dynamo.testing

from daso.learners.fixmatch import FixMatch
from daso.learners.supervised import Supervised
from daso.schema import DasoConfig
from daso.slots.align import DistributionAlignment
from daso.slots.daso import Daso
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy, LogitAdjusted
from daso.types import Flags
from tests import toy

LEARNERS = {"supervised": Supervised, "fixmatch": lambda: FixMatch(0.3)}
LABELED = {"ce": CrossEntropy, "la": lambda: LogitAdjusted(toy.COUNTS, 1.0)}
ALIGN = {"none": lambda: None, "da": lambda: DistributionAlignment(toy.COUNTS, window=3)}
SEMANTIC = {
    "none": lambda: None,
    "daso": lambda: Daso(toy.CLASSES, toy.DIM, DasoConfig(name="daso", queue_size=3, warmup_steps=2, update_every=2)),
}
LEGAL = [
    *itertools.product(["supervised"], LABELED, ["none"], ["none"]),
    *itertools.product(["fixmatch"], LABELED, ALIGN, SEMANTIC),
]


@pytest.fixture(autouse=True)
def fresh_traces():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def run(names, compiled, steps=4):
    """Losses of every step, and the slots' buffers at the end."""
    learner, labeled, align, semantic = names
    learner = LEARNERS[learner]()
    slots, nets = Slots(LABELED[labeled](), ALIGN[align](), semantic=SEMANTIC[semantic]()), toy.nets()
    graphs = torch._dynamo.testing.CompileCounterWithBackend("eager")
    forward = torch.compile(learner.__call__, backend=graphs, fullgraph=True, dynamic=False) if compiled else learner
    losses = []
    for t in range(steps):
        outcome = forward(nets, toy.batch(t, len(learner.views)), slots, {}, toy.clock(t), slots.flags(t))
        sum(outcome.losses.values()).backward()
        losses.append({name: loss.detach() for name, loss in outcome.losses.items()})
    flags = {slots.flags(t) for t in range(steps)}
    return losses, dict(slots.named_buffers()), graphs.frame_count, flags


@pytest.mark.parametrize("names", LEGAL, ids="-".join)
def test_a_step_traces_whole_and_gives_the_eager_numbers(names):
    losses, buffers, graphs, flags = run(names, compiled=True)
    expected, expected_buffers, _, _ = run(names, compiled=False)
    for actual, wanted in zip(losses, expected, strict=True):
        assert set(actual) == set(wanted)
        assert all(torch.equal(actual[name], wanted[name]) for name in wanted)
    assert all(torch.equal(buffers[name], wanted) for name, wanted in expected_buffers.items())
    assert graphs == len(flags)
    assert flags <= {Flags(), Flags(semantic=True)}
