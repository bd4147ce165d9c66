"""A method of strength zero is the learner that it is put on, in every number of a run."""

from functools import cache

import pytest

from tests.training import composed, trained

LOW = "algorithm.threshold=0.2"  # so that pseudo-labels count from the first steps on
FIXMATCH, PSEUDOLABEL = ("algorithm=fixmatch", LOW), ("algorithm=pseudolabel", LOW)
ALL = ("algorithm=fixmatch", "algorithm.threshold=0")  # every label counts
LA, ABC = ("supervised=la", "supervised.tau=0"), ("abc=paper", "abc.weight=0")
DASO = ("daso=paper", "daso.blend=0", "daso.align_weight=0", "daso.warmup_steps=3", "daso.update_every=2")
CLEAN = (*DASO, "daso.ema_bn=clean")
DARP = ("darp=paper", "darp.goal=labeled", "darp.warmup=1")
CREST, CREST_PLUS = (("protocol.generations=1", f"protocol={name}") for name in ("crest", "crest_plus"))
PLAIN = ("debias.weight=1", "debias.unlabeled_weight=1", "debias.smooth_weight=0")
SOON = "debias.every=3"  # so that a period ends
EVENTS = {"train", "eval"}
CASES = {
    # By default DASO's passes move the running statistics that the evaluation normalises by, and nothing else.
    "fixmatch, daso": (FIXMATCH, DASO, {"train"}),
    "fixmatch, daso clean": (FIXMATCH, CLEAN, EVENTS),
    "fixmatch, la": (FIXMATCH, LA, EVENTS),
    "fixmatch, abc": (FIXMATCH, ABC, EVENTS),
    "fixmatch, darp": (FIXMATCH, DARP, EVENTS),
    "fixmatch, boss": (FIXMATCH, ("confidence=boss", "confidence.delta=0"), EVENTS),
    "fixmatch, cdmad": (FIXMATCH, ("debias=cdmad", "debias.start=1", "debias.at_test=false"), EVENTS),
    "mixmatch, cdmad": (("algorithm=mixmatch",), ("debias=cdmad", "debias.start=1", "debias.at_test=false"), EVENTS),
    "fixmatch, debiaspl": (FIXMATCH, ("debias=debiaspl", "debias.strength=0"), EVENTS),
    "fixmatch, simpro": (FIXMATCH, ("debias=simpro", "debias.tau=0", "debias.labeled_weight=1", SOON), EVENTS),
    "fixmatch, acr": (FIXMATCH, ("debias=acr", "debias.tau=0", "debias.weight=0", SOON), EVENTS),
    "fixmatch, scssl": (FIXMATCH, ("debias=scssl", "debias.weight=0"), EVENTS),
    "fixmatch, cossl": (FIXMATCH, ("debias=cossl", "debias.start=1"), EVENTS),
    "fixmatch, ccl": (FIXMATCH, ("debias=ccl", "debias.balanced=false", *PLAIN, SOON), EVENTS),
    "fixmatch, saw": (FIXMATCH, ("balance=saw", "balance.scale=0", "balance.every=3"), EVENTS),
    "remixmatch, saw": (("algorithm=remixmatch",), ("balance=saw", "balance.scale=0", "balance.every=3"), EVENTS),
    "fixmatch, freematch": (ALL, ("confidence=freematch", "confidence.momentum=1", "confidence.fair_weight=0"), EVENTS),
    "fixmatch, flexmatch": (ALL, ("confidence=flexmatch",), EVENTS),
    "fixmatch, adsh": (FIXMATCH, ("confidence=adsh", "confidence.every=7"), EVENTS),
    "fixmatch, crest": (FIXMATCH, CREST, EVENTS),
    "fixmatch, all": (FIXMATCH, (*LA, *ABC, *DARP, *CLEAN, *CREST), EVENTS),
    "fixmatch_da, crest_plus": (("algorithm=fixmatch_da", LOW), CREST_PLUS, EVENTS),
    "supervised, la": (("algorithm=supervised",), LA, EVENTS),
    "usadtm, la": (("algorithm=usadtm",), LA, EVENTS),
    "pseudolabel, la": (PSEUDOLABEL, LA, EVENTS),
    "pseudolabel, daso": (PSEUDOLABEL, CLEAN, EVENTS),
    "meanteacher, la": (("algorithm=meanteacher",), LA, EVENTS),
    "meanteacher, daso": (("algorithm=meanteacher",), CLEAN, EVENTS),
    "mixmatch, daso": (("algorithm=mixmatch",), CLEAN, EVENTS),
    "remixmatch, darp": (("algorithm=remixmatch",), DARP, EVENTS),
}


@cache
def rows(base, folder):
    return trained(composed(*base), folder)[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize(("base", "zero", "events"), CASES.values(), ids=CASES)
def test_strength_zero_is_the_base_bit_for_bit(base, zero, events, folder):
    assert composed(*base, *zero).run_key != composed(*base).run_key
    plain, weak = rows(base, folder), trained(composed(*base, *zero), folder)[1]
    assert [row[:2] for row in plain] == [row[:2] for row in weak]
    for (event, _, expected), (*_, actual) in zip(plain, weak):
        if event in events:
            assert {name: actual[name] for name in expected} == expected  # beside them, the method's own
        if event == "train" and LOW in base:
            assert expected["train/loss_cons"] > 0
