"""Methods that do not stand beside each other: the refusal names both options, and says why."""

from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest

from daso.errors import UserError
from daso.schema import OPTIONS, AbcConfig
from daso.settings.checks import check
from daso.settings.compose import configuration
from daso.settings.options import CONF
from tests.compose import config_of

RECORDS = [
    (node, name, kind) for node, options in OPTIONS.items() for name, kind in options.items() if name != kind.absent
]
SAID = [(node, name, other, why) for node, name, kind in RECORDS for other, why in kind.apart.items()]
SHARED = [(one, two) for one, two in combinations(RECORDS, 2) if one[0] != two[0] and one[2].places & two[2].places]


@cache
def fixmatch():
    return config_of("algorithm=fixmatch")


def option(node, name):
    """The option file of a record, as it is typed: named after the method, or the one of all that holds its values."""
    return f"{node}={name if (CONF / node / f'{name}.yaml').exists() else 'paper'}"


def refused(**chosen):
    """What is said of FixMatch with some nodes filled, each by a method's name."""
    filled = {node: OPTIONS[node][name](name=name) for node, name in chosen.items()}
    with pytest.raises(UserError) as refusal:
        check(replace(fixmatch(), **filled))
    return str(refusal.value)


@pytest.mark.parametrize(("node", "name", "other", "why"), SAID, ids=[f"{n}={o} {x}" for n, o, x, _ in SAID])
def test_what_a_record_sets_apart_is_refused_by_both_options_with_its_reason(node, name, other, why):
    other, _, named = other.partition("=")
    beside = [named] if named else [kind for _, kind, record in RECORDS if _ == other]
    assert beside
    for theirs in beside:
        said = refused(**{node: name, other: theirs})
        assert f" {option(node, name)} " in f" {said.partition(' is not')[0]} "
        assert f" {option(other, theirs)} " in f" {said.partition(' is not')[0]} "
        assert why in said
        assert f"{node}={OPTIONS[node][name].absent}" in said
        assert f"{'another algorithm' if other == 'algorithm' else f'{other}={OPTIONS[other][theirs].absent}'}." in said


@pytest.mark.parametrize(("one", "two"), SHARED, ids=[f"{a[0]}={a[1]} {b[0]}={b[1]}" for a, b in SHARED])
def test_two_methods_of_one_place_are_refused_by_both_options(one, two):
    said = refused(**{node: name for node, name, _ in (one, two)})
    assert {option(*one[:2]), option(*two[:2])} < {*said.split()}
    assert "fill the same place" in said or any(why in said for *_, why in SAID)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["algorithm=fixmatch_abc", "debias=cdmad"],
            "debias=cdmad beside abc=paper is not possible: the second head makes pseudo-labels of its own, from which "
            "no bias is taken, so debias=none or abc=none.",
        ),
        (
            ["algorithm=meanteacher_daso", "debias=cdmad"],
            "debias=cdmad beside algorithm=meanteacher_daso is not possible: its pseudo-labels are the average "
            "network's, but the bias is measured on the other, so debias=none or another algorithm.",
        ),
        (["algorithm=fixmatch", "align=matched", "debias=simpro"], "debias=simpro beside align=matched"),
        (["algorithm=fixmatch_acr", "confidence=boss"], "both fill the same place, confidence, so confidence=none or"),
        (["algorithm=fixmatch_saw", "supervised=ldam_drw"], "balance=saw beside supervised=ldam_drw"),
    ],
)
def test_options_are_called_as_they_were_typed_or_as_the_preset_chose_them(overrides, says):
    with pytest.raises(UserError) as refusal:
        configuration(overrides)
    assert str(refusal.value).count(says) == 1


@pytest.mark.parametrize("beside", ["confidence=boss", "confidence"])
def test_a_record_sets_apart_one_option_or_a_whole_node(monkeypatch, beside):
    monkeypatch.setattr(AbcConfig, "apart", {beside: "one threshold for two heads is none"})
    assert "one threshold for two heads is none" in refused(abc="abc", confidence="boss")
