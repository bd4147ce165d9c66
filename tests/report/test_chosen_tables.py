"""What a person asks of a table beside its numbers: rows, columns, names, formats."""

import csv
import io
import re

import pytest

from daso.errors import UserError
from daso.outputs.rundir import RunDir
from daso.report.__main__ import main
from daso.report.collect import collect
from daso.report.names import paper_name
from daso.report.tables.render import as_csv
from tests.report.fake import ALL, DASO, FIXMATCH, FORMATS, made, record, three


@pytest.mark.parametrize(
    ("label", "printed"),
    [
        ("FixMatch + DASO", "FixMatch w/ DASO"),
        ("fixmatch_daso", "FixMatch w/ DASO"),
        ("fixmatch_la_daso, daso.blend=0.5", "FixMatch + LA w/ DASO, daso.blend=0.5"),
        ("FixMatch + ABC + DASO", "FixMatch w/ ABC + DASO"),
        ("FixMatch + DASO, T_dist=0.3", "FixMatch w/ DASO, T_dist=0.3"),
        ("remixmatch_crest_plus", "ReMixMatch w/ CReST+"),
        ("fixmatch_mynewmethod", "FixMatch w/ mynewmethod"),
        ("Supervised + LDAM-DRW", "Supervised + LDAM-DRW"),
        ("supervised", "Supervised"),
        ("Meta-Expert", "Meta-Expert"),
    ],
)
def test_methods_are_called_as_papers_print_them(label, printed):
    assert paper_name(label) == printed


@pytest.mark.parametrize(("name", "where"), ALL)
@pytest.mark.parametrize("kind", FORMATS)
def test_every_table_has_printed_names_in_every_format(root, name, where, kind):
    tables = made(root, name, where, names="paper", rows=("fixmatch", "fixmatch_daso"))
    text = "".join(FORMATS[kind](table) for table in tables)
    assert "FixMatch w/ DASO" in text
    assert not re.search(r"FixMatch \+ DASO|fixmatch_daso *(\||&|<)", text)


@pytest.mark.parametrize("kind", ["markdown", "latex", "html"])
def test_nothing_is_bold_where_nobody_wants_it(root, kind):
    marks = {"markdown": ("**", "<u>"), "latex": (r"\textbf", r"\underline"), "html": ('class="first"',)}[kind]
    for bold in (True, False):
        (table,) = made(root, "1", bold=bold)
        text = FORMATS[kind](table)
        assert all((mark in text) is bold for mark in marks)
        assert any("bold" in note for note in table.notes) is bold


def test_csv_ranks_nothing_where_nobody_wants_it(root):
    lines = list(csv.DictReader(io.StringIO(as_csv(*made(root, "1", bold=False)))))
    assert {line["rank"] for line in lines} == {""}


@pytest.mark.parametrize(("name", "where"), [ALL[0], ALL[2]])
@pytest.mark.parametrize("kind", ["markdown", "latex", "html"])
def test_a_table_shows_the_columns_that_are_asked_for(root, name, where, kind):
    own, theirs = "76.0" + {"latex": r" $\pm$ 1.00"}.get(kind, " ± 1.00"), "47.3"
    texts = {
        columns: "".join(FORMATS[kind](table) for table in made(root, name, where, columns=columns))
        for columns in ("own", "published", "both")
    }
    assert [own in texts[columns] for columns in ("own", "published", "both")] == [True, False, True]
    assert [theirs in texts[columns] for columns in ("own", "published", "both")] == [False, True, True]


def test_a_table_of_own_numbers_leaves_out_what_has_none_and_says_so(root):
    (table,) = made(root, "1", columns="own")
    assert [table.label(row) for row in table.rows] == ["FixMatch", "FixMatch + DASO", "FixMatch + LA"]
    assert [tuple(column) for column in table.columns] == [("CIFAR10-LT", "γ=100 N1=500 M1=4000")]
    assert any(note.startswith("Left out: 9 rows and 7 columns without an own number") for note in table.notes)
    assert "cells have no finished run" not in " ".join(table.notes)


@pytest.mark.parametrize(("name", "where"), ALL)
def test_rows_stand_as_they_are_asked_for_and_only_they_are_ranked(root, name, where):
    table = made(root, name, where, rows=("fixmatch_la", "fixmatch"))[0]
    labels = [table.label(row) for row in table.rows]
    assert labels in (["fixmatch_la", "fixmatch"], ["FixMatch + LA", "FixMatch"])
    best = [row for (row, _), entry in table.entries.items() if entry.rank == 1]
    assert [table.label(row) for row in best] == labels[:1]  # 73 to 72; DASO's 76 is not there


def test_rows_are_chosen_by_patterns_and_an_unknown_one_is_refused_with_those_there_are(root):
    (table,) = made(root, "mine", rows=("*_daso", "FIXMATCH"))
    assert table.rows == ["fixmatch_daso", "fixmatch"]
    with pytest.raises(
        UserError, match=r"rows=mixmatch is not possible: nearest is fixmatch; there are fixmatch, .*fixmatch_la\."
    ):
        made(root, "mine", rows=("fixmatch", "mixmatch"))


def test_a_table_of_chosen_runs_holds_no_others(root, capsys):
    keys = [run.key for run in collect([root]) if run.seed != 1]
    assert main(["table=mine", f"runs={root}", f"keys={','.join(key[:8] for key in keys)}"]) == 0
    assert re.search(r"\| fixmatch +\| 72\.0 ± 2\.83 \(2\)†", capsys.readouterr().out)
    assert main(["table=mine", f"runs={root}", "keys=zzz"]) == 2
    assert "keys=zzz is not possible: it must fit one of 9 runs; it fits none." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["1", "mine"])
def test_a_table_shows_the_settings_that_are_asked_for(root, tmp_path, name, capsys):
    record(tmp_path, ("dataset=cifar10", "imbalance=cifar10_n1500_m3000_g100", "algorithm=fixmatch"), 0, 80.0)
    where = ["dataset=cifar10", "n1=500", "gamma_l=100"]
    assert main([f"table={name}", f"runs={root},{tmp_path}", *where]) == 0
    shown = capsys.readouterr().out
    assert "500" in shown
    assert "N1=1500" not in shown
    assert main([f"table={name}", f"runs={root}", "n1=7"]) == 2
    assert "n1=7 is not possible" in capsys.readouterr().err


def test_a_table_without_a_number_says_what_would_make_some_and_what_is_not_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    three(tmp_path / "wide", (*FIXMATCH, "model.width=4"), (70.0, 72.0, 74.0))
    assert main(["table=1", "columns=own", "runs=wide", "out=t.md"]) == 2
    assert not (tmp_path / "t.md").exists()
    assert capsys.readouterr().err.startswith(
        "table=1 has nothing to show: no finished run under runs=wide is of it; train some with "
        "python train.py -m experiment=table1_cifar10 or experiment=table1_cifar100, or name runs=. "
        "Not counted: 3 finished runs of these settings that no cell describes (model.width=4)."
    )
    assert main(["table=1", "runs=wide"]) == 0  # the published numbers


@pytest.mark.parametrize("kind", FORMATS)
def test_a_column_without_a_number_in_the_rows_that_are_asked_for_is_left_out(tmp_path, kind):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    three(tmp_path, (*DASO, "optim.lr=0.1"), (75.0, 77.0, 76.0))
    (table,) = made(tmp_path, "mine", rows=("fixmatch",))
    assert [column.label.rpartition(" ")[2] for column in table.columns] == ["lr=0.03"]
    assert "lr=0.1" not in FORMATS[kind](table)
    assert "Left out: 1 column without a number in the rows that are asked for." in table.notes


def test_folders_that_hold_no_runs_are_called_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = record(tmp_path / "runs", FIXMATCH, 0, 70.0)
    (tmp_path / "photos").mkdir()
    says = {
        (): "table=mine has nothing to show: there is no folder outputs; train some, or name runs=.\n",
        ("runs=photos",): "table=mine has nothing to show: no run lies in photos; train some, or name runs=.\n",
        ("runs=run",): "runs=run is not possible: there is no folder run; did you mean runs?\n",
        (
            f"runs=runs/{run.name}",
        ): f"runs=runs/{run.name} is not possible: it is a run itself; name the folder that it lies in, runs.\n",
    }
    for arguments, sentence in says.items():
        assert main(["table=mine", *arguments]) == 2
        assert capsys.readouterr().err == sentence
    assert main(["table=1"]) == 0  # the published numbers
    assert capsys.readouterr().err.endswith(
        "No own number is shown: there is no folder outputs; runs= names the folders of yours.\n"
    )


def test_what_no_run_has_is_refused_with_what_the_runs_have(root, capsys):
    says = {
        (
            "dataset=cifar1",
        ): "dataset=cifar1 is not possible: no run has it; the runs have cifar10; did you mean cifar10?",
        ("n1=abc",): "n1=abc is not possible: no run has it; the runs have 500.",
        ("optim.lr=0.5",): "optim.lr=0.5 is not possible: no run has it; the runs have 0.03.",
        ("optim.lrr=0.5",): "optim.lrr=0.5 is not possible: there is no key optim.lrr; did you mean optim.lr?",
        ("model=wrn28_2",): "model=wrn28_2 is not possible here: runs of any settings are shown; a knob chooses runs, "
        "such as train.steps=1000, rows= methods.",
    }
    for arguments, sentence in says.items():
        assert main(["table=mine", f"runs={root}", *arguments]) == 2
        assert capsys.readouterr().err == f"{sentence}\n"


def test_a_knob_chooses_own_runs(tmp_path, capsys):
    for lr, top1 in ((0.03, 70.0), (0.1, 80.0)):
        record(tmp_path, (*FIXMATCH, f"optim.lr={lr}"), 0, top1)
    assert main(["table=mine", f"runs={tmp_path}", "optim.lr=1e-1", "dataset.flip=true"]) == 0
    shown = capsys.readouterr().out
    assert "80.0" in shown
    assert "70.0" not in shown


def test_a_failed_run_is_named_with_its_reason(tmp_path, capsys):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    failed = record(tmp_path, FIXMATCH, 3)
    RunDir(tmp_path, failed.name).mark_failed("The loss is not finite at step 50.")
    assert main(["table=mine", f"runs={tmp_path}"]) == 0
    note = f"1 run ({failed.name}); failed: fixmatch of seed 3 ({failed.name}: The loss is not finite at step 50)."
    assert f"Unfinished and not counted: {note}" in capsys.readouterr().out


def test_a_data_set_that_nobody_has_published_on_is_called_so_once(tmp_path, capsys):
    for lr in (0.1, 0.2):
        record(tmp_path, ("experiment=quickstart", f"optim.lr={lr}"), 0, 70.0)
    assert main(["table=field", "dataset=digits", f"runs={tmp_path}"]) == 2
    assert capsys.readouterr().err.endswith(
        "table=field has nothing to show: nothing is published on digits, and no finished run is trained as a recipe "
        "says; table=mine dataset=digits shows any runs.\n"
    )


def test_rows_whose_names_hold_commas_are_listed_and_asked_for_with_semicolons(tmp_path, capsys):
    for size in (64, 256):
        record(
            tmp_path, (*DASO, f"daso.queue_size={size}", "daso.t_dist=0.5" if size == 64 else "daso.t_dist=1"), 0, 70.0
        )
    first, second = (
        "fixmatch_daso, daso.t_dist=0.5, daso.queue_size=64",
        "fixmatch_daso, daso.t_dist=1.0, daso.queue_size=256",
    )
    assert main(["table=mine", f"runs={tmp_path}", f"rows={first}"]) == 2
    said = capsys.readouterr().err
    assert f"there are {first}; {second}; with ; behind each, names may hold commas.\n" in said
    assert main(["table=mine", f"runs={tmp_path}", f"rows={first};"]) == 0
    printed = capsys.readouterr().out
    assert (first in printed, second in printed) == (True, False)


def test_a_row_that_is_misspelt_is_said_before_the_baseline_and_with_what_was_meant(tmp_path, capsys):
    three(tmp_path, DASO, (75.0, 77.0, 76.0))
    assert main(["table=mine", f"runs={tmp_path}", "rows=fixmatch_dasso", "baseline=fixmatch_daso"]) == 2
    assert (
        capsys.readouterr().err
        == "rows=fixmatch_dasso is not possible: nearest is fixmatch_daso; there are fixmatch_daso.\n"
    )
