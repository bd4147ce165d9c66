"""What a tracker is sent of the journal: headlines always, other curves about a hundred times, classes at the end."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from daso.track.jsonl import TIME
from daso.track.selection import CURVES, PerClass, Selection, per_class
from daso.train.evaluate import History, Tally, class_groups, metrics
from daso.train.meters import label_metrics

CONFIG = {"train": {"steps": 250_000, "eval_every": 500, "log_every": 100}}
HEADLINES = {f"headline/{name}" for name in ("top1_median20", "bacc", "few", "pl_recall")}


def numbers(classes=10):
    """Everything that an evaluation reports, with the names that it has in a run."""
    counts = torch.ones(classes + 1, classes, dtype=torch.int64)
    tally = Tally(counts, torch.tensor(1), torch.tensor(1.0, dtype=torch.float64))
    found = {}
    for split in ("valid", "test"):
        found |= metrics(tally, tally, class_groups([1] * classes), split)
    pairs = dict.fromkeys(("final", "linear", "semantic"), torch.ones(classes + 2, classes, dtype=torch.int64))
    return found | History().add(found) | label_metrics(pairs, torch.ones(classes, dtype=torch.int64))


def row(step, event="eval", **values):
    return {"event": event, "step": step, TIME: float(step)} | (values or numbers())


def test_headlines_are_sent_at_every_evaluation_and_nothing_per_class():
    selection = Selection.of(CONFIG)
    headlines = {"test/top1", "test/top1_median20", "test/bacc", "test/few", "valid/bacc", "pl/final/recall"}
    for step in (500, 1000, 249_500, 250_000):
        sent = selection.now(row(step))
        assert headlines <= sent.keys()
        assert not any(map(per_class, sent))


@pytest.mark.parametrize(("event", "period"), [("eval", 500), ("train", 100)])
def test_other_curves_keep_about_a_hundred_points_and_the_last(event, period):
    selection = Selection.of(CONFIG)
    steps = range(period, 250_001, period)
    sent = [step for step in steps if "test/top5" in selection.now(row(step, event, **{"test/top5": 1.0}))]
    assert CURVES <= len(sent) <= CURVES + 1
    assert sent[-1] == 250_000
    assert len({b - a for a, b in pairwise(sent)}) == 1


def test_a_short_run_is_sent_whole_but_for_its_classes():
    selection = Selection.of({"train": {"steps": 1000, "eval_every": 50, "log_every": 10}})
    for step in (50, 500, 1000):
        whole = row(step)
        assert selection.now(whole).keys() == {name for name in whole if not per_class(name)} | HEADLINES


def test_a_run_of_more_steps_than_configured_is_thinned_by_its_own():
    selection = Selection.of(CONFIG, steps=10_000)  # cRT's second stage
    assert "test/top5" in selection.now(row(500))
    assert "test/top5" not in Selection.of(CONFIG).now(row(500))


def test_what_is_left_of_a_row_and_what_was_sent_are_the_row():
    selection, whole = Selection.of(CONFIG | {"track": {"per_class": True}}), row(500)
    now, rest = selection.now(whole), selection.rest(whole)
    assert (now | rest).items() - {(name, now[name]) for name in HEADLINES} == whole.items()
    assert now.keys() & rest.keys() == {"event", "step", TIME}


def test_values_per_class_are_sent_only_where_they_are_asked_for():
    assert not any(map(per_class, Selection.of(CONFIG).rest(row(500))))


def test_what_a_comparison_begins_with_has_names_that_come_first_and_the_values_of_the_journal():
    whole = row(500)
    sent = Selection.of(CONFIG).now(whole)
    assert {name for name in sent if name.startswith("headline/")} == HEADLINES
    assert sent["headline/few"] == whole["test/few"]
    assert sent["headline/pl_recall"] == whole["pl/final/recall"]
    assert min(name for name in sent if "/" in name).startswith("headline/")
    reported = Selection.of(CONFIG | {"recipe": {"reports": "bacc_mean20"}}).now(whole)
    assert reported["headline/bacc_mean20"] == whole["test/bacc_mean20"]


def test_rows_of_other_events_are_sent_whole():
    assert Selection.of(CONFIG).now(row(7, "phase", **{"crest/added": 3.0}))["crest/added"] == 3.0


def test_a_full_run_is_a_twentieth_of_its_numbers():
    selection, whole = Selection.of(CONFIG), numbers(100)
    sent = sum(len(selection.now(row(step, **whole))) - 3 for step in range(500, 250_001, 500))
    assert sent < 500 * len(whole) / 20


def test_values_per_class_fill_a_table_with_holes_where_there_was_none(tmp_path):
    table = PerClass()
    table.add(row(1, **{"test/class/0": 1.0, "test/top1": 5.0}))
    table.add(row(1, "train", **{"test/class/0": 9.0}))
    table.add(row(2, **{"test/class/0": None, "test/class/2": 3.0}))
    table.add(row(3, **{"pl/final/recall/class/1": 0.5}))
    assert table.save(tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz") as found:
        nan = np.nan
        np.testing.assert_array_equal(found["test/class"], [[1, nan, nan], [nan, nan, 3], [nan, nan, nan]])
        np.testing.assert_array_equal(found["pl/final/recall/class"], [[nan, nan], [nan, nan], [nan, 0.5]])
        assert found["step"].tolist() == [1, 2, 3]


def test_a_run_without_values_per_class_has_no_table(tmp_path):
    table = PerClass()
    table.add(row(1, **{"test/top1": 5.0}))
    assert not table.save(tmp_path / "t.npz")
    assert not (tmp_path / "t.npz").exists()
