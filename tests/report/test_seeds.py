"""Seeds of a cell: those that a table warns of, and what it takes for two methods to differ."""

import math

import pytest
import torch

from daso.report.stats import spans
from daso.report.tables.render import markdown
from daso.train.alarms import collapse
from tests.report.fake import DASO, FIXMATCH, LA, entry, record, table, three


def test_a_seed_at_chance_is_warned_about_and_marks_its_cell(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0))
    record(tmp_path, FIXMATCH, 2, 10.0)
    made = table(tmp_path)
    assert entry(made, "FixMatch").marks(3) == "!"
    (text,) = made.warnings
    assert "FixMatch on CIFAR10-LT γ=100 N1=500 M1=4000: seed 2 ended at chance (10.0 %" in text
    (text,) = table(tmp_path, "mine", names="paper").warnings
    assert text.startswith("FixMatch on cifar10 N1=500 γl=100 γu=100: seed 2 ended at chance")


def test_a_seed_far_below_the_others_is_warned_about(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 58.0))
    assert "seed 2 is 12.0 points below the median of its cell" in table(tmp_path).warnings[0]


def test_a_seed_that_recognises_nothing_of_a_fifth_of_the_classes_is_warned_about(tmp_path):
    silent = {f"test/class/{k}": 0.0 if k > 7 else 90.0 for k in range(10)}
    record(tmp_path, FIXMATCH, 0, 70.0, **silent)
    record(tmp_path, FIXMATCH, 1, 70.0, **(silent | {"test/class/8": 1.0}))
    (text,) = table(tmp_path).warnings
    assert text.endswith("seed 0 recognises no image of 2 of 10 classes.")


def test_after_logit_adjustment_a_seed_is_judged_by_its_adjusted_answers(tmp_path):
    silent = {f"test/class/{k}": 0.0 if k > 7 else 90.0 for k in range(10)}
    adjusted = {f"test/class_la/{k}": 80.0 for k in range(10)} | {"test/bacc_la": 80.0, "test/top1_la_median20": 80.0}
    record(tmp_path, FIXMATCH, 0, 70.0, **silent, **adjusted)
    assert "recognises no image" in markdown(table(tmp_path, "mine"))
    assert "recognises no image" not in markdown(table(tmp_path, "mine", la=True))
    record(tmp_path, FIXMATCH, 1, 70.0, **silent, **(adjusted | {"test/class_la/8": 0.0, "test/class_la/9": 0.0}))
    assert "seed 1 recognises no image of 2 of 10 classes" in markdown(table(tmp_path, "mine", la=True))


def test_a_seed_that_warned_of_a_class_and_still_misses_it_is_warned_about(tmp_path):
    confusion = torch.full((10, 10), 5.0)
    confusion[:, 9] = 0  # class 9 is never predicted
    said = [f"Step 900: {text}" for text in collapse(70.0, confusion, progress=0.9)]
    silent = {f"test/class/{k}": 0.0 if k == 9 else 90.0 for k in range(10)}
    record(tmp_path, FIXMATCH, 0, 70.0, **silent, warnings=said)
    record(tmp_path, FIXMATCH, 1, 70.0, **silent)  # which no run's own warning is about
    record(tmp_path, FIXMATCH, 2, 70.0, **(silent | {"test/class/9": 1.0}), warnings=said)  # recovered
    made = table(tmp_path)
    (text,) = made.warnings
    assert text.endswith(": seed 0 recognises no image of 1 of 10 classes.")
    assert entry(made, "FixMatch").marks(3) == "!"


def test_all_collapsed_seeds_of_a_cell_are_one_line(tmp_path):
    hundred = ("dataset=cifar100", "imbalance=cifar100_n150_m300_g10", "algorithm=fixmatch")
    silent = {f"test/class/{k}": 0.0 if k > 60 else 90.0 for k in range(100)}
    three(tmp_path, hundred, (55.0, 55.0, 55.0), **silent, warnings=["Step 900: never predicts 39 classes."])
    (text,) = table(tmp_path).warnings
    assert text.endswith(": seeds 0-2 recognise no image of 39 of 100 classes.")


def test_seeds_that_were_made_differently_are_averaged_with_a_warning(tmp_path):
    alike = {"precision": "fp32", "compile": "none"}
    record(tmp_path, FIXMATCH, 0, 70.0, device="cpu", code="aaa", **alike)
    record(tmp_path, FIXMATCH, 1, 72.0, device="cuda", code="bbb", **alike)
    record(tmp_path, FIXMATCH, 2, 74.0, device="cpu", code="aaa", **alike)
    three(tmp_path, DASO, (75.0, 77.0, 76.0), device="cuda", code="bbb", **alike)
    made = table(tmp_path)
    assert made.warnings == [
        "FixMatch on CIFAR10-LT γ=100 N1=500 M1=4000: the average mixes "
        "device cpu (seeds 0, 2) and cuda (seed 1); code aaa (seeds 0, 2) and bbb (seed 1)."
    ]
    assert entry(made, "FixMatch").sample.mean == 72.0
    assert len(table(tmp_path, "mine").warnings) == 1


def test_significance_is_a_paired_t_test_over_common_seeds(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0, 99.0))
    three(tmp_path, DASO, (75.0, 77.0, 76.0))  # differences 5, 5, 2: t = 4 with 2 degrees of freedom
    made = table(tmp_path, baseline="fixmatch")
    assert entry(made, "FixMatch + DASO").p == pytest.approx(1 - 4 / math.sqrt(4**2 + 2))
    assert entry(made, "FixMatch + DASO").marks(3) == ""
    assert entry(made, "FixMatch").p is None


def test_a_significant_difference_is_starred(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    three(tmp_path, DASO, (75.0, 77.1, 79.0))
    assert entry(table(tmp_path, baseline="FixMatch"), "FixMatch + DASO").marks(3) == "*"


def test_p_of_fewer_pairs_than_seeds_says_how_many_and_too_few_are_never_starred(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0))
    three(tmp_path, DASO, (75.0, 77.001, 79.0))  # differences 5 and 5.001: t = 10001 with 1 degree of freedom
    made = table(tmp_path, baseline="fixmatch")
    found = entry(made, "FixMatch + DASO")
    assert found.p == pytest.approx(2 / math.pi * math.atan(1 / 10001), rel=1e-6)  # two tails of a Cauchy distribution
    assert (found.pairs, found.marks(3)) == (2, "")
    assert "(3, p<0.001 of 2 pairs) /" in markdown(made)
    assert entry(table(tmp_path, baseline="fixmatch", min_seeds=2), "FixMatch + DASO").marks(2) == "*"


def test_one_common_seed_or_constant_differences_give_no_p(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    three(tmp_path, DASO, (75.0, 77.0, 79.0))
    record(tmp_path, LA, 0, 75.0)
    made = table(tmp_path, baseline="fixmatch")
    assert entry(made, "FixMatch + DASO").p is None
    assert entry(made, "FixMatch + LA").p is None


@pytest.mark.parametrize(
    ("seeds", "words"), [([3], "seed 3"), ([1, 0, 2], "seeds 0-2"), ([0, 2], "seeds 0, 2"), ([4, 0, 3], "seeds 0, 3-4")]
)
def test_seeds_in_words(seeds, words):
    assert spans(seeds) == words
