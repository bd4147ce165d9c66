"""The journal: one row an event, nothing lost, nothing twice."""

import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daso.errors import UserError
from daso.track.jsonl import TIME, Journal, Prefix, follow, read, tail

STEP_EVENT = st.tuples(st.integers(0, 50), st.sampled_from(["train", "eval", "pl"]))


def write(path, *rows):
    journal = Journal(path)
    for event, step, metrics in rows:
        journal.append(event, step, metrics)
    journal.close()


def keys(path):
    return [(row["step"], row["event"]) for row in read(path)]


def test_a_row_is_one_line_with_event_step_time_and_metrics(tmp_path):
    path = tmp_path / "m.jsonl"
    Journal(path, now=lambda: 12.5).append("train", 3, {"train/loss_cls": 0.25})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"event": "train", "step": 3, TIME: 12.5, "train/loss_cls": 0.25}
    ]


def test_values_survive_to_the_last_bit(tmp_path):
    write(tmp_path / "m", ("eval", 1, {"test/top1": 0.1 + 0.2}))
    assert next(read(tmp_path / "m"))["test/top1"] == 0.1 + 0.2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None])
def test_values_that_are_not_finite_are_null(tmp_path, value):
    write(tmp_path / "m", ("eval", 1, {"test/gm": value}))
    assert json.loads((tmp_path / "m").read_text())["test/gm"] is None


def test_a_row_is_readable_before_the_journal_is_closed(tmp_path):
    journal = Journal(tmp_path / "m")
    journal.append("train", 1, {})
    assert keys(tmp_path / "m") == [(1, "train")]


def test_a_second_row_of_a_step_and_event_is_refused_also_after_reopening(tmp_path):
    write(tmp_path / "m", ("eval", 1, {}))
    with pytest.raises(ValueError, match="already"):
        Journal(tmp_path / "m").append("eval", 1, {})


@pytest.mark.parametrize("name", ["train/löss", "a//b", "/a", "a/", "a=b", "", TIME])
def test_names_that_the_mirror_could_not_carry_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="metric name"):
        Journal(tmp_path / "m").append("train", 1, {name: 0.0})


def test_times_strictly_increase_even_if_the_clock_stands_or_goes_back(tmp_path):
    clock = iter([5.0, 5.0, 4.0, 6.0])
    journal = Journal(tmp_path / "m", now=lambda: next(clock))
    for step in range(4):
        journal.append("train", step, {})
    assert [row[TIME] for row in read(tmp_path / "m")] == [5.0, 5.001, 5.002, 6.0]


@given(st.sets(STEP_EVENT, max_size=12), st.integers(-1, 51))
def test_truncate_keeps_exactly_the_rows_up_to_the_checkpoint(tmp_path_factory, rows, step):
    path = tmp_path_factory.mktemp("j") / "m"
    journal = Journal(path)
    for at, event in sorted(rows):
        journal.append(event, at, {"a": 1.0})
    journal.truncate(step)
    assert keys(path) == sorted(key for key in rows if key[0] <= step)


def test_dropped_rows_may_be_written_again(tmp_path):
    journal = Journal(tmp_path / "m")
    for step in (1, 2, 3):
        journal.append("train", step, {})
    journal.truncate(1)
    journal.append("train", 2, {})
    assert keys(tmp_path / "m") == [(1, "train"), (2, "train")]


@given(st.integers(0, 10_000))
def test_a_file_cut_anywhere_reads_as_its_whole_rows_and_can_be_continued(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("j") / "m"
    write(path, *(("train", step, {"a": step / 3}) for step in range(5)))
    whole = path.read_bytes()
    cut %= len(whole) + 1
    path.write_bytes(whole[:cut])
    left = whole[:cut].count(b"\n")
    assert keys(path) == [(step, "train") for step in range(left)]
    write(path, ("train", 99, {}))
    assert keys(path) == [(step, "train") for step in range(left)] + [(99, "train")]


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    write(tmp_path / "m", ("train", 1, {}), ("train", 2, {}))
    lines = (tmp_path / "m").read_bytes().splitlines(keepends=True)
    (tmp_path / "m").write_bytes(b"\0\0\n" + lines[1])
    with pytest.raises(UserError, match="Line 1 of"):
        Journal(tmp_path / "m")


def test_a_write_that_fails_half_way_leaves_whole_rows(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "m")
    journal.append("train", 1, {"a": 1.0})
    monkeypatch.setattr(json, "dumps", lambda *a, **k: _Half('{"event": "train", "step": 2}'))
    with pytest.raises(OSError, match="No space"):
        journal.append("train", 2, {"a": 1.0})
    monkeypatch.undo()
    journal.append("train", 2, {"a": 2.0})
    assert [row["a"] for row in read(tmp_path / "m")] == [1.0, 2.0]


class _Half(str):
    """Encodes to bytes of which a raw file takes only a part, as on a full disk."""

    def encode(self):
        return _HalfBytes(super().encode())


class _HalfBytes(bytes):
    def __add__(self, other):
        return _HalfBytes(bytes(self) + other)

    def __len__(self):
        return super().__len__() + 1  # the file reports fewer bytes than asked for


def test_reading_a_missing_file_gives_nothing(tmp_path):
    assert list(read(tmp_path / "none")) == []
    assert tail(tmp_path / "none") == []


def test_tail_gives_the_last_whole_rows(tmp_path):
    write(tmp_path / "m", *(("train", step, {"a": 1.0}) for step in range(100)))
    assert [row["step"] for row in tail(tmp_path / "m", size=400)] == list(range(100))[
        -len(tail(tmp_path / "m", 400)) :
    ]
    assert 1 <= len(tail(tmp_path / "m", size=400)) < 10
    assert len(tail(tmp_path / "m")) == 100


def test_following_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "m"
    write(path, ("train", 1, {}), ("train", 2, {}))
    *_, (_, place) = follow(path, Prefix())
    write(path, ("train", 3, {}))
    assert [row["step"] for row, _ in follow(path, place)] == [3]
    assert place.size < os.path.getsize(path)


def test_a_prefix_holds_until_the_file_begins_with_something_else(tmp_path):
    path = tmp_path / "m"
    write(path, ("train", 1, {"a": 1.0}), ("train", 2, {"a": 2.0}))
    *_, (_, place) = follow(path, Prefix())
    write(path, ("train", 3, {}))
    assert Prefix.of(path, *place.note()) is not None
    journal = Journal(path, now=lambda: time.time() + 5)
    journal.truncate(1)
    assert Prefix.of(path, *place.note()) is None
    journal.append("train", 2, {"a": 2.0})
    assert Prefix.of(path, *place.note()) is None  # the same values, written at another time
