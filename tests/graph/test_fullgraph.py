"""A step is one graph: it traces whole, gives the eager numbers, and is traced once per combination of flags."""

import itertools

import pytest
import torch
import torch._dynamo.testing

from daso.learners.fixmatch import FixMatch
from daso.learners.supervised import Supervised
from daso.schema import AbcConfig, DarpConfig, DasoConfig
from daso.slots.abc import Abc
from daso.slots.align import DistributionAlignment
from daso.slots.boss import Boss
from daso.slots.darp import Darp
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
REFINE = {
    "none": lambda: None,
    "darp": lambda: Darp(8.0 * toy.COUNTS / toy.COUNTS.sum(), 12, 5, DarpConfig("darp", warmup=0.4, every=4)),
}
CONFIDENCE = {"none": lambda: None, "boss": lambda: Boss(toy.CLASSES, 0.25)}
AUX = {"none": lambda: [], "abc": lambda: [Abc(toy.COUNTS, 0.3, AbcConfig("abc", every=2))]}
PLAIN = ["none"]
LEGAL = [
    *itertools.product(["supervised"], LABELED, PLAIN, PLAIN, PLAIN, PLAIN, PLAIN),
    *itertools.product(["fixmatch"], LABELED, ALIGN, PLAIN, SEMANTIC, PLAIN, PLAIN),
    *itertools.product(["fixmatch"], ["la"], ["da"], ["darp"], SEMANTIC, PLAIN, AUX),
    *itertools.product(["fixmatch"], ["ce"], PLAIN, PLAIN, SEMANTIC, ["boss"], AUX),
]


@pytest.fixture(autouse=True)
def fresh_traces():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def make_slots(labeled, align, refine, semantic, confidence, aux):
    places = (LABELED[labeled], ALIGN[align], REFINE[refine], SEMANTIC[semantic], CONFIDENCE[confidence], AUX[aux])
    return Slots(*(fill() for fill in places))


def run(names, compiled, steps=4):
    """Losses of every step, and the slots' buffers at the end."""
    learner, slots = LEARNERS[names[0]](), make_slots(*names[1:])
    nets = toy.nets(heads=("cls", slots.head))
    graphs = torch._dynamo.testing.CompileCounterWithBackend("eager")
    forward = torch.compile(learner.__call__, backend=graphs, fullgraph=True, dynamic=False) if compiled else learner
    losses = []
    for t in range(steps):
        outcome = forward(
            nets, toy.batch(t, len(learner.views)), slots, toy.noise(learner, slots, t), toy.clock(t), slots.flags(t)
        )
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
    assert flags <= {Flags(*bools) for bools in itertools.product([False, True], repeat=len(Flags()))}
