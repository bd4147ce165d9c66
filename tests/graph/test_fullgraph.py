"""A step is one graph: it traces whole, gives the eager numbers, and is traced once per combination of flags."""

import itertools

import pytest
import torch
import torch._dynamo.testing

from daso.learners.base import Method
from daso.learners.cpe import Cpe
from daso.learners.fixmatch import FixMatch
from daso.learners.meanteacher import MeanTeacher
from daso.learners.mixmatch import MixMatch
from daso.learners.pseudolabel import PseudoLabel
from daso.learners.remixmatch import ReMixMatch
from daso.learners.retrain import Retrain
from daso.learners.supervised import Supervised
from daso.learners.usadtm import Usadtm
from daso.schema import (
    AbcConfig,
    AdshConfidence,
    CpeAlgorithm,
    DarpConfig,
    DasoConfig,
    FlexMatchConfidence,
    FreeMatchConfidence,
    MeanTeacherAlgorithm,
    MixMatchAlgorithm,
    PseudoLabelAlgorithm,
    ReMixMatchAlgorithm,
    ScSslDebias,
    SoftMatchConfidence,
    UsadtmAlgorithm,
)
from daso.slots.abc import Abc
from daso.slots.adsh import Adsh
from daso.slots.align import DistributionAlignment
from daso.slots.boss import Boss
from daso.slots.darp import Darp
from daso.slots.daso import Daso
from daso.slots.flexmatch import FlexMatch
from daso.slots.freematch import FreeMatch
from daso.slots.reweighting import ClassBalanced, MarginBalanced
from daso.slots.scssl import ScSsl
from daso.slots.slots import Slots
from daso.slots.softmatch import SoftMatch
from daso.slots.supervised import CrossEntropy, LogitAdjusted
from tests import toy

LEARNERS = {
    "supervised": Supervised,
    "retrain": Retrain,
    "fixmatch": lambda: FixMatch(0.3),
    "pseudolabel": lambda: PseudoLabel(PseudoLabelAlgorithm("pseudolabel", threshold=0.3)),
    "meanteacher": lambda: MeanTeacher(MeanTeacherAlgorithm("meanteacher")),
    "mixmatch": lambda: MixMatch(MixMatchAlgorithm("mixmatch")),
    "remixmatch": lambda: ReMixMatch(ReMixMatchAlgorithm("remixmatch")),
    "cpe": lambda: Cpe(toy.COUNTS, CpeAlgorithm("cpe", threshold=0.3)),
    "usadtm": lambda: Usadtm(UsadtmAlgorithm("usadtm", warmup=0.1), toy.DIM, toy.COUNTS.tolist()),
}
LABELED = {
    "ce": CrossEntropy,
    "la": lambda: LogitAdjusted(toy.COUNTS, 1.0),
    "cb": lambda: ClassBalanced(toy.COUNTS, 0.999, start=2),
    "ldam_drw": lambda: MarginBalanced(toy.COUNTS, 0.999, 2, 0.5, 30, margins_at_once=False),
}
ALIGN = {
    "none": lambda: None,
    "da": lambda: DistributionAlignment(toy.COUNTS, window=3),
    "ema": lambda: DistributionAlignment(toy.COUNTS, momentum=0.9),
}
DASO = {"name": "daso", "queue_size": 3, "warmup_steps": 2, "update_every": 2}
SEMANTIC = {
    "none": lambda: None,
    "daso": lambda: Daso(toy.CLASSES, toy.DIM, DasoConfig(**DASO)),
    "blend_only": lambda: Daso(toy.CLASSES, toy.DIM, DasoConfig(**DASO, align_weight=0)),
}
REFINE = {
    "none": lambda: None,
    "darp": lambda: Darp(8.0 * toy.COUNTS / toy.COUNTS.sum(), 12, 5, DarpConfig("darp", warmup=0.4, every=4)),
}
CONFIDENCE = {
    "none": lambda: None,
    "boss": lambda: Boss(toy.CLASSES, 0.25),
    "freematch": lambda: FreeMatch(toy.COUNTS, FreeMatchConfidence(clip="global", quantile=0.8)),
    "flexmatch": lambda: FlexMatch(toy.COUNTS, 12, 0.3, FlexMatchConfidence()),
    "softmatch": lambda: SoftMatch(toy.CLASSES, SoftMatchConfidence(goal="labeled_ema", per_class=True)),
    "adsh": lambda: Adsh(toy.COUNTS, 0.3, AdshConfidence()),
}
AUX = {"none": lambda: None, "abc": lambda: Abc(toy.COUNTS, 0.3, AbcConfig("abc", every=2))}
AUX["scssl"] = lambda: ScSsl(toy.COUNTS, 0.3, 1, ScSslDebias(bias_above=0))
PLAIN = ["none"]
CASES = [
    *itertools.product(["supervised"], LABELED, PLAIN, PLAIN, PLAIN, PLAIN, PLAIN),
    *itertools.product(["fixmatch"], ["ce", "la"], ["none", "da"], PLAIN, ["none", "daso"], PLAIN, PLAIN),
    *itertools.product(["fixmatch"], ["la"], ["da"], ["darp"], ["none", "daso"], PLAIN, ["none", "abc"]),
    *itertools.product(["fixmatch"], ["ce"], PLAIN, PLAIN, ["none", "daso"], ["boss"], ["none", "abc"]),
    ("fixmatch", "ce", *PLAIN * 4, "scssl"),
    ("cpe", "ce", *PLAIN * 3, "boss", "none"),
    *itertools.product(["fixmatch"], ["ce"], ["ema"], *[PLAIN] * 2, list(CONFIDENCE)[2:], PLAIN),
    *itertools.product(["pseudolabel", "meanteacher", "mixmatch", "remixmatch", "usadtm"], ["ce"], *[PLAIN] * 5),
    ("retrain", "ce", *PLAIN * 5),
    ("usadtm", "cb", *PLAIN * 5),
    ("pseudolabel", "ldam_drw", "da", "none", "blend_only", "boss", "none"),
    ("meanteacher", "cb", "da", "none", "blend_only", "none", "none"),
    ("mixmatch", "ce", "da", "none", "blend_only", "none", "none"),
    ("remixmatch", "ce", "da", "none", "daso", "none", "none"),
]


def beside(names):
    """Each filled place of a step, and each two of them: what a case shows."""
    filled = [(place, name) for place, name in enumerate(names) if name != "none"]
    return {frozenset(pair) for pair in itertools.product(filled, repeat=2)}


def cover(cases):
    """Few cases that show what all do."""
    found, shown = [], set()
    while new := max(cases, key=lambda names: len(beside(names) - shown)):
        if beside(new) <= shown:
            return found
        found.append(new)
        shown |= beside(new)
    return found


CORE = cover(CASES)


@pytest.fixture(autouse=True)
def fresh_traces():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def make_slots(labeled, align, refine, semantic, confidence, aux):
    places = (LABELED[labeled], ALIGN[align], REFINE[refine], SEMANTIC[semantic], CONFIDENCE[confidence], AUX[aux])
    return Slots(*(fill() for fill in places))


def run(names, compiled, steps=4):
    """Losses of every step, and the buffers of learner and slots at the end."""
    learner, slots = LEARNERS[names[0]](), make_slots(*names[1:])
    method = Method(learner, slots)
    nets = toy.nets(heads=method.heads, encoder=toy.OneBlock(), norms=learner.norms)
    graphs = torch._dynamo.testing.CompileCounterWithBackend("eager")
    forward = torch.compile(learner.__call__, backend=graphs, fullgraph=True, dynamic=False) if compiled else learner
    losses = []
    for t in range(steps):
        batch = toy.batch(t, len(learner.views), unlabeled=toy.LABELED)
        noise = toy.noise(learner, slots, t, toy.LABELED)
        outcome = forward(nets, batch, slots, noise, toy.clock(t), method.flags(t))
        sum(outcome.losses.values()).backward()
        losses.append({name: loss.detach() for name, loss in outcome.losses.items()})
    flags = {method.flags(t) for t in range(steps)}
    buffers = {**dict(slots.named_buffers()), **dict(learner.named_buffers(prefix="learner"))}
    return losses, buffers, graphs.frame_count, flags, method.switches


@pytest.mark.parametrize(
    "names", [pytest.param(case, id="-".join(case), marks=() if case in CORE else pytest.mark.slow) for case in CASES]
)
def test_a_step_traces_whole_and_gives_the_eager_numbers(names):
    losses, buffers, graphs, flags, switches = run(names, compiled=True)
    expected, expected_buffers, *_ = run(names, compiled=False)
    for actual, wanted in zip(losses, expected, strict=True):
        assert set(actual) == set(wanted)
        assert all(torch.equal(actual[name], wanted[name]) for name in wanted)
    assert all(torch.equal(buffers[name], wanted) for name, wanted in expected_buffers.items())
    assert graphs == len(flags)
    assert {name for on in flags for name in on} == {*switches}
