"""`python -m daso.runs`: what the folders say, and nothing removed that was not asked for."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import time

import pytest
import torch
import yaml

from daso import runs
from daso.outputs.files import write_json
from daso.outputs.rundir import RunDir, RunState
from daso.track.jsonl import Journal
from daso.track.terminal import terminal

CONFIG = {
    "dataset": {"name": "digits"},
    "imb": {"n1": 20, "m1": 100, "gamma_l": 10.0, "gamma_u": 1.0},
    "algorithm": {"name": "fixmatch"},
    "daso": {"name": "daso"},
    "train": {"steps": 100},
    "seed": 3,
}


def make(root, key, state, steps=40):
    run = RunDir(root, key)
    with run.lock():
        run.resolved.write_text(yaml.safe_dump(CONFIG | {"run_key": key}))
        journal = Journal(run.metrics)
        for step in range(10, steps + 1, 10):
            journal.append("train", step, {"train/loss_cls": 1 / step})
        journal.append("eval", steps - 10, {"test/top1_median20": 60.5, "test/bacc": 61.0})
        journal.close()
        torch.save({"format": 1, "run_key": key, "step": steps - 5}, run.checkpoint)
        if state is RunState.failed:
            run.mark_failed("The loss is not finite at step 40.")
        if state is RunState.done:
            write_json(run.summary, {"test/top1_median20": 70.5, "test/bacc": None, "steps": steps})
            run.mark_done()
    return run


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "outputs"
    make(root, "aa11", RunState.partial)
    make(root, "aa22", RunState.failed)
    make(root, "bb33", RunState.done, steps=100)
    (root / ".sweep-1").mkdir()
    (root / "notes.txt").write_text("mine")
    return root


def call(capsys, *arguments):
    code = runs.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def keys(root):
    return [run.key for run in runs.all_runs(root)]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_run_is_one_line_of_a_terminal_and_the_newest_the_last(root, monkeypatch, width):
    os.utime(root / "aa22" / "resolved.yaml", (1, 1))
    shown = io.StringIO()
    monkeypatch.setattr(runs, "terminal", lambda: terminal(shown, width, live=True))
    assert runs.main(["--root", str(root)]) == 0
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).split() for line in shown.getvalue().splitlines()]
    assert len(lines) == 1 + len(runs.all_runs(root))
    assert all("fixmatch_daso" in line for line in lines[1:] if line[1] != "?")
    assert [name in lines[0] for name in ("age", "median20")] == [width > 100, width <= 100]


def test_the_list_says_state_setting_progress_and_result(root, capsys):
    code, out, _ = call(capsys, "--root", root)
    lines = {line.split()[0]: line.split() for line in out.splitlines()}
    assert code == 0
    assert lines["aa11"][1:-1] == [
        "partial",
        "digits",
        "fixmatch_daso",
        "N1=20",
        "gl=10",
        "gu=1",
        "3",
        "35/100",
        "60.50",
        "61.00",
    ]
    assert lines["aa22"][1] == "failed"
    assert lines["bb33"][1:-1] == [
        "done",
        "digits",
        "fixmatch_daso",
        "N1=20",
        "gl=10",
        "gu=1",
        "3",
        "100/100",
        "70.50",
        "-",
    ]
    assert len(lines) == 4


def test_a_list_leaves_out_numbers_that_a_run_will_make_again(root, capsys):
    RunDir(root, "aa11").checkpoint.unlink()
    _, out, _ = call(capsys, "--root", root)
    (line,) = (line.split() for line in out.splitlines() if line.split()[0] == "aa11")
    assert line[-4:-1] == ["0/100", "-", "-"]


def test_a_list_without_runs_says_so(tmp_path, capsys):
    assert call(capsys, "--root", tmp_path) == (0, f"No run lies in {tmp_path}.\n", "")


def test_the_list_as_json_is_for_programs(root, capsys):
    for arguments in (
        ("--root", root, "list", "--json"),
        ("list", "--json", "--root", root),
        ("--json", "--root", root),
    ):
        rows = json.loads(call(capsys, *arguments)[1])
        assert [row["key"] for row in rows] == ["aa11", "aa22", "bb33"]
    assert rows[1]["reason"] == "The loss is not finite at step 40."
    assert (rows[2]["step"], rows[2]["steps"], rows[2]["test/top1_median20"]) == (100, 100, 70.5)


def test_the_list_as_csv_holds_the_numbers_that_are_asked_for(root, capsys):
    for arguments in (
        ("list", "--csv", "--metrics", "test/bacc, steps,test/few"),
        ("--csv", "--metrics=test/bacc,steps,test/few"),
    ):
        out = call(capsys, "--root", root, *arguments)[1]
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [row["key"] for row in rows] == ["aa11", "aa22", "bb33"]
        assert list(rows[0])[-4:] == ["steps", "test/bacc", "test/few", "age_seconds"]
    assert (rows[2]["method"], rows[2]["steps"], rows[2]["test/bacc"]) == ("fixmatch_daso", "100", "")
    header, *_ = call(capsys, "--root", root, "--metrics", "test/few")[1].splitlines()
    assert header.split()[-3:] == ["step", "test/few", "age"]


def test_a_run_that_is_worked_on_is_listed_as_running(root, capsys):
    with RunDir(root, "aa11").lock():
        assert json.loads(call(capsys, "--root", root, "--json")[1])[0]["state"] == "running"


def test_a_run_whose_configuration_is_unreadable_is_still_listed(root, capsys):
    RunDir(root, "aa11").resolved.write_text("{")
    assert "aa11" in call(capsys, "--root", root)[1]


def test_show_takes_the_beginning_of_a_key(root, capsys):
    code, out, _ = call(capsys, "show", "aa2", "--root", root)
    assert code == 0
    assert "digits fixmatch_daso N1=20 gl=10 gu=1 s3" in out
    assert ["step", "35", "of", "100"] in map(str.split, out.splitlines())  # of its checkpoint, not of its newest row
    assert not {"event", "time/unix"} & set(out.split())
    assert "The loss is not finite at step 40." in out
    assert str(root / "aa22") in out


def test_show_begins_with_the_numbers_that_are_reported_and_names_overrides_and_configuration(root, capsys):
    run = RunDir(root, "bb33")
    write_json(run.summary, run.numbers() | {"run_key": "bb33", "status": "FINISHED", "test/bacc": 72.25})
    write_json(run.card, {"tags": {"overrides": "experiment=quickstart seed=3"}, "steps": 100})
    rows = [line.split(maxsplit=1) for line in call(capsys, "show", "bb33", "--root", root)[1].splitlines()[1:]]
    assert rows[:4] == [["test/top1_median20", "70.50"], ["test/bacc", "72.25"], ["key", "bb33"], ["state", "done"]]
    assert ["step", "100 of 100"] in rows
    assert ["overrides", "experiment=quickstart seed=3"] in rows
    assert ["configuration", str(run.resolved)] in rows
    assert not {"run_key", "status", "steps"} & {name for name, *_ in rows}


def test_numbers_that_are_counts_have_no_decimals(root, capsys):
    run = RunDir(root, "bb33")
    write_json(run.summary, run.numbers() | {"memory/peak_bytes": 984375296.0, "test/top1": 90.0, "test/top5": 100.0})
    rows = dict(line.split() for line in call(capsys, "show", "bb33", "--root", root)[1].splitlines() if "/" in line)
    assert rows["memory/peak_bytes"] == "984375296"
    assert (rows["test/top1"], rows["test/top5"]) == ("90.00", "100.00")


@pytest.mark.parametrize(("key", "fits"), [("aa", "aa11, aa22"), ("zz", "none")])
def test_a_key_must_fit_one_run(root, capsys, key, fits):
    code, _, err = call(capsys, "show", key, "--root", root)
    assert code == 2
    assert f"Run key {key} must fit one run" in err
    assert fits in err


def test_prune_removes_nothing_without_yes(root, capsys):
    code, out, _ = call(capsys, "prune", "--state", "failed", "--root", root)
    assert code == 0
    assert "would remove aa22: failed" in out
    assert out.endswith("1 run; nothing was removed, add --yes to do it\n")
    assert keys(root) == ["aa11", "aa22", "bb33"]


def test_prune_removes_by_state(root, capsys):
    call(capsys, "prune", "--state", "failed", "--state", "partial", "--yes", "--root", root)
    assert keys(root) == ["bb33"]
    assert (root / "notes.txt").exists()


def test_prune_removes_by_key(root, capsys):
    call(capsys, "prune", "aa1", "--yes", "--root", root)
    assert keys(root) == ["aa22", "bb33"]


def test_prune_removes_by_age(root, capsys):
    for path in RunDir(root, "aa11").path.iterdir():
        os.utime(path, (time.time() - 8 * 86400,) * 2)
    call(capsys, "prune", "--older-than", "7d", "--yes", "--root", root)
    assert keys(root) == ["aa22", "bb33"]


def test_an_age_of_nothing_is_an_age(root, capsys):
    assert "3 runs; nothing was removed" in call(capsys, "prune", "--older-than", "0s", "--root", root)[1]


def test_prune_takes_conditions_together(root, capsys):
    _, out, _ = call(capsys, "prune", "--state", "partial", "--older-than", "7d", "--yes", "--root", root)
    assert out == "No run fits; nothing was removed.\n"
    assert keys(root) == ["aa11", "aa22", "bb33"]


def test_a_number_that_no_run_has_is_compared_with_those_that_there_are(root, capsys):
    code, out, err = call(capsys, "list", "--metrics", "bacc", "--root", root)
    assert (code, out) == (2, "")
    assert err == "daso.runs: --metrics bacc is not possible: no run has it; did you mean test/bacc?\n"


def test_a_list_on_a_narrow_terminal_says_what_it_has_no_room_for(root, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(runs, "terminal", lambda: terminal(width=60, live=True))
    assert call(capsys, "list", "--root", root)[1].endswith(
        "A wider terminal, or --csv, has data set, step, test/bacc, age as well.\n"
    )


def test_a_run_is_shown_by_its_folder_as_well(root, capsys):
    assert call(capsys, "show", str(root / "bb33"), "--root", root) == call(capsys, "show", "bb33", "--root", root)


def test_prune_wants_to_be_told_what(root, capsys):
    code, _, err = call(capsys, "prune", "--yes", "--root", root)
    assert code == 2
    assert "needs to be told what to remove" in err
    assert keys(root) == ["aa11", "aa22", "bb33"]


def test_prune_never_removes_a_run_that_is_worked_on(root, capsys):
    with RunDir(root, "aa11").lock():
        assert "keeping aa11: running" in call(capsys, "prune", "aa11", "aa22", "--yes", "--root", root)[1]
        assert keys(root) == ["aa11", "bb33"]


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path, capsys):
    code, _, err = call(capsys, "--root", tmp_path / "none")
    assert code == 2
    assert "none is not a folder" in err


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["watch", "root=outputs"], "root=outputs is not possible: write --root outputs."),
        (["root=outputs", "once=true"], "root=outputs is not possible: write --root outputs."),
        (["prune", "older_than=7d"], "older_than=7d is not possible: write --older-than 7d."),
        (["watch", "once=true"], "once=true is not possible: write --once."),
        (["lst"], "lst is not possible: did you mean list?"),
        (["ps"], "ps is not possible: choose one of list, watch, show, prune, mirror."),
        (["list", "--jsn"], "--jsn is not possible: did you mean --json?"),
        (["show", "aa11", "--json"], "--json is not possible here: python -m daso.runs --help says more."),
        (["list", "--zzz"], "--zzz is not possible: python -m daso.runs --help says more."),
        (["show"], "KEY is missing behind python -m daso.runs show: it is a run key or its beginning, or latest"),
        (["prune", "--older-than", "7"], "--older-than: '7' is not a duration such as 12h or 7d; python -m daso.runs"),
    ],
)
def test_a_command_that_is_none_is_a_sentence(capsys, typed, says):
    assert runs.main(typed) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"daso.runs: {says}")
    assert err.count("\n") == 1


def test_hundreds_of_runs_are_listed_quickly_and_without_heavy_imports(root):
    for number in range(100):
        make(root, f"c{number:03}", RunState.partial)
    code = (
        "import sys, time; from daso import runs; began = time.process_time(); "
        f"runs.main(['--root', {str(root)!r}]); seconds = time.process_time() - began; "
        "sys.exit(bool({'torch', 'mlflow', 'matplotlib', 'hydra', 'omegaconf'} & set(sys.modules)) or seconds > 3)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0
