"""The journal: one row an event, nothing lost, nothing twice."""

import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daso.errors import Damaged, UserError
from daso.track.jsonl import TIME, Journal, Prefix, follow, kept, read, tail

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
    write(tmp_path / "m", *((event, step, {"a": 1.0}) for step in range(50) for event in ("train", "eval")))
    expected = [(step, event) for step in range(50) for event in ("train", "eval")]
    newest = [(row["step"], row["event"]) for row in tail(tmp_path / "m", size=400)]
    assert 2 <= len(newest) < 10
    assert newest == expected[-len(newest) :]
    assert [(row["step"], row["event"]) for row in tail(tmp_path / "m")] == expected


@pytest.mark.parametrize("classes", [400, 10_000])
def test_tail_reaches_back_to_a_row_of_each_event_however_long_they_are(tmp_path, classes):
    many = {f"test/class/{k}": k / 7 for k in range(classes)}
    rows = [("train", 1, {"train/loss_cls": 2.0}), ("train", 2, {"train/loss_cls": 1.0}), ("eval", 2, many)]
    write(tmp_path / "m", *rows, ("eval", 3, many), ("eval", 4, many))
    *_, logged, first, second, last = tail(tmp_path / "m", size=1000)
    assert (logged["step"], logged["train/loss_cls"]) == (2, 1.0)
    assert [first["step"], second["step"], last["step"]] == [2, 3, 4]
    assert last[f"test/class/{classes - 1}"] == (classes - 1) / 7


def test_a_tail_passes_over_what_is_damaged(tmp_path):
    write(tmp_path / "m", ("train", 1, {}), ("eval", 1, {}), ("train", 2, {}))
    first, second, third = (tmp_path / "m").read_bytes().splitlines(keepends=True)
    (tmp_path / "m").write_bytes(first + second[:9] + b"\0" * 20 + second[29:] + third + b'{"event"')
    assert [row["step"] for row in tail(tmp_path / "m")] == [1, 2]
    assert tail(tmp_path) == []


GOOD = {"event": "train", "step": 3, TIME: 1.5, "train/loss_cls": 0.25, "test/gm": None}


@pytest.mark.parametrize(
    "row",
    [
        GOOD | {"step": "3"},
        GOOD | {"step": 3.5},
        GOOD | {"step": -1},
        GOOD | {"step": True},
        GOOD | {"event": 7},
        GOOD | {TIME: "now"},
        GOOD | {TIME: None},
        GOOD | {"train/loss_cls": "low"},
        GOOD | {"train/loss_cls": [0.25]},
        {"event": "train", "step": 3},
        [GOOD],
        None,
    ],
    ids=str,
)
def test_what_is_no_row_is_named(tmp_path, row):
    (tmp_path / "m").write_text("".join(json.dumps(line) + "\n" for line in (GOOD, row, GOOD | {"step": 4})))
    with pytest.raises(Damaged, match=r"Line 2 of .*m is damaged"):
        list(read(tmp_path / "m"))


@given(st.integers(0, 10_000), st.sampled_from(range(1, 256)))
def test_no_flipped_bit_before_the_mark_is_kept_and_none_behind_it_matters(tmp_path_factory, at, flip):
    path = tmp_path_factory.mktemp("j") / "m"
    journal = Journal(path, now=lambda: 1.0)
    for step in range(5):
        journal.append("train", step, {"a": step / 3})
    mark = journal.sync()
    assert (mark["rows"], mark["bytes"]) == (5, path.stat().st_size)
    journal.append("train", 5, {"a": 5 / 3})
    journal.close()
    whole = path.read_bytes()
    at %= len(whole)
    path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
    if at < mark["bytes"]:
        with pytest.raises(Damaged, match="does not begin with the 5 rows"):
            kept(path, 4, mark)
    else:
        assert kept(path, 4, mark) == whole[: mark["bytes"]]


def test_of_an_earlier_version_the_rows_are_counted(tmp_path):
    write(tmp_path / "m", ("train", 1, {}), ("train", 2, {}), ("train", 3, {}))
    assert kept(tmp_path / "m", 2, {"rows": 2}).count(b"\n") == 2
    assert kept(tmp_path / "m", 2, {"rows": None}).count(b"\n") == 2
    with pytest.raises(Damaged, match="does not begin with the 3 rows"):
        kept(tmp_path / "m", 2, {"rows": 3})


def test_a_journal_goes_on_after_its_mark(tmp_path):
    journal = Journal(tmp_path / "m")
    journal.append("train", 1, {})
    mark = journal.sync()
    journal.append("train", 2, {"a": 1.0})
    journal.close()
    journal = Journal(tmp_path / "m", start=(1, mark))
    journal.append("train", 2, {"a": 2.0})
    assert [row.get("a") for row in read(tmp_path / "m")] == [None, 2.0]


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
