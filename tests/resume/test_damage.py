"""Whatever has befallen a file of a run, the same line ends with the undisturbed numbers or says in a sentence what is
wrong: never other numbers, never a traceback, and nothing is thrown away for it.
"""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch

from daso import runs
from daso.report.collect import collect
from daso.run.start import run
from tests.compose import NOWHERE
from tests.resume.damaged import (
    FINISHED,
    HOWS,
    KILLED_AT,
    MADE_ANEW,
    PLACES,
    STOPPED,
    damage,
    folder_of,
    kill_at,
    numbers,
    other,
    put_in_its_place,
    rows,
    short,
    started_again,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    for config in (other(root), short(root)):
        run(config, NOWHERE)
    return config


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    root = tmp_path_factory.mktemp("stopped")
    for config in (other(root), short(root)):
        kill_at(config, KILLED_AT)
    return config


@pytest.fixture
def copied(tmp_path):
    """A copy of a run, to be damaged."""

    def copy(config):
        shutil.copytree(config.out_root, tmp_path, dirs_exist_ok=True)
        return short(tmp_path)

    return copy


@pytest.mark.parametrize("name", STOPPED)
@pytest.mark.parametrize("how", HOWS)
def test_a_stopped_run_with_a_damaged_file(stopped, finished, copied, name, how, monkeypatch):
    config = copied(stopped)
    damage(folder_of(config).path / name, how)
    said = started_again(config, name, monkeypatch)
    assert not said or name == "metrics.jsonl"  # of all others there is a second copy, or a source
    if not said:
        assert (rows(config), numbers(config)) == (rows(finished), numbers(finished))


@pytest.mark.parametrize("name", STOPPED)
@pytest.mark.parametrize("what", PLACES)
def test_a_stopped_run_with_something_else_in_a_files_place(stopped, finished, copied, name, what, monkeypatch):
    config = copied(stopped)
    put_in_its_place(folder_of(config).path / name, what, monkeypatch)
    said = started_again(config, name, monkeypatch)
    assert "force=true" not in said or (name, what) == ("metrics.jsonl", "another run's")
    if not said:
        assert (rows(config), numbers(config)) == (rows(finished), numbers(finished))


@pytest.mark.parametrize("name", FINISHED)
@pytest.mark.parametrize("how", HOWS)
def test_a_finished_run_with_a_damaged_file(finished, copied, name, how, monkeypatch, capsys):
    config = copied(finished)
    damage(folder_of(config).path / name, how)
    runs.main(["--root", config.out_root])
    listed = capsys.readouterr().err
    collect([config.out_root])
    assert capsys.readouterr().err.replace("daso.runs: ", "") == listed.replace("daso.runs: ", "")
    assert not listed or name in listed
    assert listed or name not in {"metrics.jsonl", "summary.json", "resolved.yaml"}
    assert started_again(config, name, monkeypatch) == ""
    assert numbers(config) == numbers(finished)
    if name in MADE_ANEW:
        assert folder_of(config).troubles() == []
        assert rows(config) == rows(finished)
    elif listed:
        assert name in capsys.readouterr().out


@pytest.mark.parametrize("name", FINISHED)
@pytest.mark.parametrize("what", PLACES)
def test_a_finished_run_with_something_else_in_a_files_place(finished, copied, name, what, monkeypatch):
    config = copied(finished)
    put_in_its_place(folder_of(config).path / name, what, monkeypatch)
    runs.main(["--root", config.out_root])
    collect([config.out_root])
    said = started_again(config, name, monkeypatch)
    assert "force=true" not in said
    if not said:
        assert numbers(config) == numbers(finished)


@pytest.mark.parametrize("name", FINISHED)
@pytest.mark.parametrize("how", ["a byte flipped at 0.3", "empty", "deep"])
def test_a_damaged_run_evaluated_again(finished, copied, name, how, monkeypatch):
    config = copied(finished)
    damage(folder_of(config).path / name, how)
    said = started_again(replace(config, eval_only=True), name, monkeypatch)
    assert not said or name == "checkpoint.pt"


def change_json(**values):
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_checkpoint(change):
    def rewrite(path):
        state = torch.load(path, weights_only=True)
        change(state)
        torch.save(state, path)

    return rewrite


def change_row(**values):
    def rewrite(path):
        first, *rest = path.read_text().splitlines(keepends=True)
        path.write_text(json.dumps(json.loads(first) | values) + "\n" + "".join(rest))

    return rewrite


WRONG = {
    "a summary of nothing": ("summary.json", lambda path: path.write_text("{}")),
    "a summary with a text for a number": ("summary.json", change_json(**{"test/top1": "high"})),
    "a summary with another number": ("summary.json", change_json(**{"test/top1_median20": 99.5})),
    "a list for a summary": ("summary.json", lambda path: path.write_text("[]")),
    "other knobs": ("resolved.yaml", lambda path: path.write_text(path.read_text().replace("seed: 0", "seed: 5"))),
    "no knobs": ("resolved.yaml", lambda path: path.write_text("{}")),
    "a card of numbers": ("run.json", lambda path: path.write_text('{"tags": 3, "forced": [], "splits": 7}')),
    "a step that is a text": ("metrics.jsonl", change_row(step="three")),
    "a number that is a text": ("metrics.jsonl", change_row(**{"train/loss_cls": "low"})),
    "another number in a row": ("metrics.jsonl", change_row(**{"train/loss_cls": 0.5})),
    "a checkpoint of nothing": ("checkpoint.pt", lambda path: torch.save({"format": 1}, path)),
    "a checkpoint of a tensor": ("checkpoint.pt", lambda path: torch.save(torch.zeros(3), path)),
    "a checkpoint without a key": ("checkpoint.pt", change_checkpoint(lambda state: state.pop("run_key"))),
    "a checkpoint without meters": ("checkpoint.pt", change_checkpoint(lambda state: state.pop("meters"))),
    "a checkpoint with a text for a step": ("checkpoint.pt", change_checkpoint(lambda s: s.update(step="6"))),
    "a checkpoint from beyond the end": ("checkpoint.pt", change_checkpoint(lambda s: s.update(step=600))),
    "a checkpoint with other shapes": (
        "checkpoint.pt",
        change_checkpoint(lambda s: s["student"].update({"heads.cls.weight": torch.zeros(2, 2)})),
    ),
    "a checkpoint with a short momentum": (
        "checkpoint.pt",
        change_checkpoint(lambda s: s["optimizer"]["state"][0].update(momentum_buffer=torch.zeros(1))),
    ),
    "a checkpoint with weights that are not finite": (
        "checkpoint.pt",
        change_checkpoint(lambda s: s["teacher"]["heads.cls.weight"].fill_(float("nan"))),
    ),
    "a checkpoint with a history of texts": (
        "checkpoint.pt",
        change_checkpoint(lambda s: s["history"].update({"test/top1": ["a", "b"]})),
    ),
}


@pytest.mark.parametrize("wrong", [wrong for wrong, (name, _) in WRONG.items() if name in STOPPED])
def test_a_stopped_run_with_a_file_that_says_something_else(stopped, finished, copied, wrong, monkeypatch):
    config = copied(stopped)
    name, change = WRONG[wrong]
    change(folder_of(config).path / name)
    said = started_again(config, name, monkeypatch)
    assert bool(said) == (name == "metrics.jsonl")
    if not said:
        assert (rows(config), numbers(config)) == (rows(finished), numbers(finished))


@pytest.mark.parametrize("wrong", WRONG)
def test_a_finished_run_with_a_file_that_says_something_else(finished, copied, wrong, monkeypatch, capsys):
    config = copied(finished)
    name, change = WRONG[wrong]
    change(folder_of(config).path / name)
    runs.main(["--root", config.out_root])
    listed = capsys.readouterr().err
    assert (name in listed) == (name in {"metrics.jsonl", "summary.json", "resolved.yaml"})
    assert started_again(config, name, monkeypatch) == ""
    assert numbers(config) == numbers(finished)


def test_where_both_checkpoints_are_damaged_the_newest_is_named_and_nothing_changes(stopped, copied, monkeypatch):
    config = copied(stopped)
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        damage(folder_of(config).path / name, "a page of zeros")
    said = started_again(config, "checkpoint.pt", monkeypatch)
    assert said.endswith("bring back the right file, or start that run afresh with force=true.")


def test_rows_that_only_the_last_checkpoint_knows_may_be_lost(stopped, finished, copied, capsys):
    config = copied(stopped)
    path = folder_of(config).metrics
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))  # those of step 3 and one of step 6
    run(config, NOWHERE)
    assert "goes on from the checkpoint before, of step 3" in " ".join(capsys.readouterr().out.split())
    assert (rows(config), numbers(config)) == (rows(finished), numbers(finished))


def test_a_kill_between_the_renames_of_a_checkpoint_costs_a_period_at_most(stopped, finished, copied):
    config = copied(stopped)
    folder_of(config).checkpoint.unlink()
    run(config, NOWHERE)
    assert (rows(config), numbers(config)) == (rows(finished), numbers(finished))


@pytest.mark.parametrize("rest", [b'{"event": "train", "st', bytes(100), bytes(100) + b"\n", b"a\nb\n"], ids=repr)
def test_what_a_journal_holds_after_its_last_checkpoint_is_cut_off(stopped, finished, copied, rest):
    config = copied(stopped)
    path = folder_of(config).metrics
    path.write_bytes(path.read_bytes() + rest)
    run(config, NOWHERE)
    assert (rows(config), numbers(config)) == (rows(finished), numbers(finished))


def test_a_damaged_journal_without_a_checkpoint_costs_nothing(stopped, finished, copied):
    config = copied(stopped)
    for path in (folder_of(config).checkpoint, folder_of(config).previous):
        path.unlink()
    damage(folder_of(config).metrics, "a page of zeros")
    run(config, NOWHERE)
    assert (rows(config), numbers(config)) == (rows(finished), numbers(finished))


def test_a_finished_run_keeps_one_checkpoint_and_no_files_that_were_never_finished(stopped, copied):
    config = copied(stopped)
    folder = folder_of(config)
    for name in (".DONE.4711.tmp", ".mlflow.json.12.tmp", ".splits.npz.ab_12", "checkpoint.tmp"):
        (folder.path / name).write_text("x")
    run(config, NOWHERE)
    left = {path.name for path in folder.path.iterdir()}
    assert left == {"lock", "console.log", *FINISHED}


def test_numbers_that_no_checkpoint_holds_any_more_are_not_trained_again_unasked(finished, copied, monkeypatch):
    config = copied(finished)
    folder_of(config).checkpoint.unlink()
    assert started_again(config, "", monkeypatch) == ""
    damage(folder_of(config).summary, "half")
    assert "no checkpoint holds the numbers" in started_again(config, "summary.json", monkeypatch)


def test_a_summary_that_is_not_whole_is_written_again(finished, copied):
    config = copied(finished)
    folder_of(config).summary.write_text('{"test/top1": 50.0}')
    run(config, NOWHERE)
    assert numbers(config) == numbers(finished)


def test_what_a_run_leaves_is_readable_as_the_umask_says(tmp_path):
    before = os.umask(0o027)
    try:
        config = short(tmp_path)
        run(config, NOWHERE)
    finally:
        os.umask(before)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in folder_of(config).path.iterdir()}
    assert modes == dict.fromkeys(modes, "0o640")
