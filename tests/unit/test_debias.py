"""What the records that correct pseudo-labels by a class prior refuse, by key and value, and what they read."""

import pytest

from daso.errors import UserError
from daso.schema import OPTIONS, BlankBn

REFUSED = [
    ("cdmad", {"start": -0.1}, "debias.start=-0.1 is not possible: a fraction of train.steps."),
    (
        "cdmad",
        {"blank_moves_stats": True, "blank_bn": BlankBn.running},
        "debias.blank_moves_stats=True is not possible: running statistics .* or debias.blank_bn=own.",
    ),
    ("debiaspl", {"strength": -1.0}, "debias.strength=-1.0 .* 0 .no correction. or more"),
    ("debiaspl", {"momentum": 1.0}, "debias.momentum=1.0 .* below 1"),
    ("debiaspl", {"cld_weight": -0.5}, "debias.cld_weight=-0.5 .* a loss weight, 0 or more"),
    ("simpro", {"tau": -1.0}, "debias.tau=-1.0 .* 0 .no priors. or more"),
    ("simpro", {"every": 0}, "debias.every=0 .* a number of steps, 1 or more"),
    ("simpro", {"momentum": -0.1}, "debias.momentum=-0.1 .* 0 or more and below 1"),
    ("simpro", {"labeled_weight": "batch"}, "debias.labeled_weight=batch .* batches, or a loss weight"),
    ("simpro", {"labeled_weight": -1}, "debias.labeled_weight=-1 .* batches, or a loss weight"),
    ("acr", {"tau": -1.0}, "debias.tau=-1.0 .* 0 .no adjustment. or more"),
    ("acr", {"tau_fixed": -1.0}, "debias.tau_fixed=-1.0 "),
    ("acr", {"tau_labeled": -1.0}, "debias.tau_labeled=-1.0 "),
    ("acr", {"temperature": 0.0}, "debias.temperature=0.0 .* a positive temperature"),
    ("acr", {"every": 0}, "debias.every=0 "),
    ("acr", {"momentum": 1.0}, "debias.momentum=1.0 "),
    ("acr", {"start": 1.1}, "debias.start=1.1 "),
    ("acr", {"weight": -1.0}, "debias.weight=-1.0 "),
]


@pytest.mark.parametrize(("name", "values", "says"), REFUSED, ids=[f"{n} {v}" for n, v, _ in REFUSED])
def test_a_value_without_meaning_is_refused_by_key(name, values, says):
    with pytest.raises(UserError, match=f"^{says}"):
        OPTIONS["debias"][name](**values)


@pytest.mark.parametrize("name", OPTIONS["debias"])
def test_another_methods_name_is_none_of_its_own(name):
    with pytest.raises(UserError, match=r"^debias\.name=unbias is not possible: one of none, cdmad"):
        OPTIONS["debias"][name](name="unbias")


@pytest.mark.parametrize(("value", "read"), [("batches", "batches"), ("0.5", 0.5), (2, 2.0), (0, 0.0)])
def test_a_labeled_weight_is_a_number_or_follows_from_the_batches(value, read):
    assert OPTIONS["debias"]["simpro"](labeled_weight=value).labeled_weight == read
