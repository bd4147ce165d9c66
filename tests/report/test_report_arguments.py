"""What can be asked of the report, and the sentence for what cannot."""

import re
from pathlib import Path

import pytest

from daso.report.__main__ import main
from daso.report.arguments import parse


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Say one of table=1"),
        (["table=9"], "table=9 is not possible"),
        (["table=1", "figure=2"], "Say one of"),
        (["--table", "1"], "--table is not possible: write table=1."),
        (["table"], "has the form key=value"),
        (["table=1", "selekt=last"], "did you mean select"),
        (["table=1", "select=first"], "one of median20, mean20, last, best"),
        (["table=1", "format=word"], "one of markdown, latex, csv, html"),
        (["table=1", "min_seeds=two"], "a whole number"),
        (["table=1", "la=maybe"], "true or false"),
        (["table=1", "runs=nowhere"], "runs=nowhere is not possible"),
        (["table=mine", "steps=100"], "there is no steps; did you mean train.steps?"),
        (["table=mine", "gl=10"], "there is no gl; did you mean gamma_l?"),
        (["table=1", "baseline=supervized"], "nearest is supervised; there are supervised"),
        (["table=1", "imb.n1=10"], "a table or figure of the paper sets data"),
        (["table=1", "train.stepz=9"], "did you mean train.steps"),
        (["table=1", "daso=nope"], "Options are blend_only, none, paper"),
        (["figure=2", "train.steps=many"], "train.steps=many is not possible"),
        (["figure=1"], "figure=1 is not possible"),
        (["figure=2", "select=last"], "select= has no effect on figure=: it is for table, html=."),
        (["table=1", "own=true"], "own= has no effect on table=: it is for figure=."),
        (["html=report.html", "format=latex"], "format= has no effect on html=: it is for table, figure=."),
    ],
)
def test_a_wrong_argument_ends_in_one_sentence_and_exit_code_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["table=1", "out=t.tex", "format=csv"], "out=t.tex is not possible with format=csv: name it t.csv, or leave"),
        (["table=1", "out=t.pdf"], "out=t.pdf is not possible: a table is written as .md, .tex, .csv or .html."),
        (["table=1", "format=pdf"], "format=pdf is not possible: a table has one of markdown, latex, csv, html."),
        (
            ["table=mine", "columns=published"],
            "columns=published is not possible here: own runs are shown; table=field",
        ),
        (["html=report.html", "columns=published"], "columns=published is not possible here: own runs are shown;"),
        (
            ["table=9"],
            "table=9 is not possible: one of 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, mine, field.",
        ),
        (["table=1", "columns=none"], "columns=none is not possible: one of own, published, both."),
        (["table=1", "width=text"], "width= has no effect on table=: it is for figure=."),
        (["table=1", "out=t"], "out=t is not possible: a table is written as .md, .tex, .csv or .html."),
        (["table=1", "out=t.txt"], "out=t.txt is not possible: a table is written as .md, .tex, .csv or .html."),
        (["html=report.pdf"], "html=report.pdf is not possible: a page is written as .html."),
        (["html=report"], "html=report is not possible: a page is written as .html."),
    ],
)
def test_what_contradicts_itself_is_refused_in_a_sentence(arguments, says, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(says)
    assert error.count("\n") == 1


def test_what_the_page_of_the_docs_prints_can_be_asked():
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    commands = re.findall(r"^python -m daso\.report ([^#\n]*)", page, re.MULTILINE)
    assert len(commands) > 8
    for command in commands:
        assert parse(command.split()).product in command


@pytest.mark.parametrize(
    ("name", "more", "begins"),
    [
        ("t.tex", [], "% Table 5"),
        ("t.csv", [], "table,dataset"),
        ("t.txt", ["format=markdown"], "## Table"),
        ("t.txt", ["format=md"], "## Table"),
        ("t", ["format=csv"], "table,dataset"),
    ],
)
def test_the_suffix_of_a_table_s_file_is_its_format(name, more, begins, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["table=5", f"out={name}", *more]) == 0
    assert (tmp_path / name).read_text().startswith(begins)
