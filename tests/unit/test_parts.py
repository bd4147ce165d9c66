"""A method's record, and what the host asks of its parts."""

import pytest
import torch

from daso.learners.base import Learner, Method
from daso.learners.fixmatch import FixMatch
from daso.nn.part import joined
from daso.run.build import build, data_of
from daso.run.build.parts import class_of
from daso.schema import OPTIONS
from daso.slots.base import Align, Auxiliary, Confidence, LabeledLoss, Refine, Semantic
from daso.slots.boss import Boss
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from daso.train.loop import State, train
from daso.train.meters import read_metrics
from daso.types import Chosen, Feats, Head, Outcome, Sizes
from tests import toy
from tests.training import CPU, Rows, composed

INTERFACES = {
    "supervised": LabeledLoss,
    "align": Align,
    "refine": Refine,
    "semantic": Semantic,
    "confidence": Confidence,
}
RECORDS = {f"{node}={name}": kind for node, some in OPTIONS.items() for name, kind in some.items() if kind.part}


@pytest.mark.parametrize("option", RECORDS)
def test_a_record_names_a_class_that_fills_its_places(option):
    record = RECORDS[option]
    part = class_of(record)
    assert "of" in vars(part)
    assert {place for place, interface in INTERFACES.items() if issubclass(part, interface)} == record.places & {
        *INTERFACES
    }


class Extra(Auxiliary):
    """Another loss, with a head, a flag, a noise stream and a number of its own."""

    switches = ("late",)

    def __init__(self, name="extra", head=None, answers=None):
        super().__init__()
        self.name, self.answers = name, answers
        self.heads = {name: head or Head()}
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("prior", torch.full((10,), 0.1))

    def flags(self, step):
        return self.switches if step >= 2 else ()

    def draws(self, sizes):
        return {self.name: lambda g: torch.rand(sizes.labeled, generator=g)}

    def metrics(self):
        return {f"{self.name}/steps": self.steps, f"{self.name}/prior": self.prior}

    def aux(self, nets, feats, batch, target, noise, clock, flags, blend):
        self.steps.add_(1)
        return {self.name: nets.student.classify(feats.w, self.name).square().mean() * ("late" in flags)}


def method(*parts):
    return Method(FixMatch(), Slots(CrossEntropy(), *parts))


class Other(Extra):
    switches = ("later",)


def test_what_a_part_declares_reaches_the_host_beside_the_learner_s():
    both = method(Extra(), Other("other", Head(4)))
    assert both.heads == {"cls": Head(), "extra": Head(), "other": Head(4)}
    assert both.switches == ("late", "later")
    assert both.flags(0) == ()
    assert both.flags(2) == ("late", "later")
    assert list(both.draws(Sizes(2, 4))) == ["extra", "other"]
    assert both.answers == "cls"
    assert method(Extra(answers="extra")).answers == "extra"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: method(Extra(), Extra("other")), "two parts have a flag late"),
        (lambda: method(Extra(), Other()), "two parts have a metric extra/steps"),
        (lambda: method(Extra("cls", Head(4))), "two parts have a head cls, of different kinds"),
        (lambda: method(Boss(4, 0.1), Boss(4, 0.2)), "Boss and Boss fill the same place"),
        (lambda: method(FixMatch()), "every slot fills a place"),
        (lambda: method(Extra(answers="extra"), Other("other", answers="other")).answers, "want to answer"),
        (lambda: joined("noise stream", [{"lam": 1}, {"perm": 1, "lam": 2}]), "two parts have a noise stream lam"),
    ],
)
def test_two_parts_with_the_same_name_or_place_are_refused(make, says):
    with pytest.raises(AssertionError, match=says):
        make()


@pytest.mark.parametrize("name", ["cls", "cons"])
def test_a_slot_s_loss_does_not_hide_the_learner_s(name):
    with pytest.raises(AssertionError, match=f"two parts have a loss {name}"):
        toy.train(FixMatch(0.3), Slots(CrossEntropy(), Extra(name)), 1)


def test_one_part_may_fill_two_places():
    class Both(Extra, Confidence):
        def confident(self, target, idx, threshold, clock):
            self.steps.add_(10)
            return Chosen(target.label, target.conf >= threshold)

    part = Both()
    outcomes, _ = toy.train(FixMatch(0.3), Slots(CrossEntropy(), part), 2)
    assert part.steps == 22
    assert set(outcomes[0].losses) == {"cls", "cons", "extra"}


def test_several_strong_views_are_paired_with_the_weak_one(monkeypatch):
    from daso.schema import AbcConfig, DasoConfig
    from daso.slots.abc import Abc
    from daso.slots.daso import Daso

    nets = toy.nets(heads={"cls": Head(), "abc": Head()})
    g = torch.Generator().manual_seed(0)
    labeled, weak, one, two = (torch.randn(n, toy.DIM, generator=g) for n in (toy.LABELED, *[toy.UNLABELED] * 3))
    daso = Daso(toy.CLASSES, toy.DIM, DasoConfig("daso", queue_size=3, warmup_steps=2, update_every=2))
    daso.prototypes.push(labeled, torch.arange(toy.LABELED) % toy.CLASSES)
    slots = Slots(CrossEntropy(), daso, Abc(toy.COUNTS, 0.3, AbcConfig("abc")))
    noise = {"abc/labeled": torch.ones(toy.LABELED), "abc/unlabeled": torch.rand(toy.UNLABELED, generator=g)}

    def losses(*strong):
        return slots.aux(nets, Feats(labeled, weak, strong), toy.batch(0), None, noise, toy.clock(3), ("semantic",))

    for name, value in losses(one, two).items():
        torch.testing.assert_close(value, (losses(one)[name] + losses(two)[name]) / 2)


class Counting(Learner):
    """Supervised, and a count of its steps."""

    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def relabel(self, counts):
        self.steps.zero_()

    def metrics(self):
        return {"steps": self.steps}

    def forward(self, nets, batch, slots, noise, clock, flags):
        self.steps.add_(1)
        z_l = nets.student.classify(nets.student.encode(batch.x))
        return Outcome({"cls": slots.supervised(z_l, batch.y, flags)}, z_l.detach(), None)


def counted(folder, *overrides):
    """A training of twelve steps, logged every third, with a learner that counts."""
    config = composed(*overrides)
    parts = build(config, CPU, *data_of(config))
    learner = Counting()
    parts.engine.step.learner, parts.engine.step._forward = learner, learner
    parts = parts._replace(method=Method(learner, parts.slots))
    report = Rows()
    train(parts, State(), report, folder / "checkpoint.pt", {})
    return [row["train/steps"] for event, _, row in report.kept if event == "train"]


def test_a_learner_starts_afresh_with_a_generation_as_a_slot_does(tmp_path):
    assert counted(tmp_path, "algorithm=fixmatch") == [3, 6, 9, 12]
    assert counted(tmp_path, "algorithm=fixmatch", "protocol=crest", "protocol.generations=2") == [3, 6, 3, 6]


def test_a_part_s_numbers_are_read_as_they_were_when_they_were_asked_for():
    part = Extra()
    later = read_metrics(part.metrics())
    part.steps.add_(5)
    part.prior.zero_()
    assert later.get() == {"extra/steps": 0.0} | {f"extra/prior/class/{k}": pytest.approx(0.1) for k in range(10)}
