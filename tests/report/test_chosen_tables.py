"""What a person asks of a table beside its numbers: rows, columns, names, results of other code, and valid LaTeX."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from daso.errors import UserError
from daso.published.cells import TABLES
from daso.report.__main__ import main as report
from daso.report.__main__ import make_tables
from daso.report.arguments import parse
from daso.report.collect import collect
from daso.report.external import read_external
from daso.report.names import paper_name
from daso.report.render import as_csv, latex, markdown
from daso.report.table import Options
from daso.report.where import Place, Where, read_place
from tests.report.fake import C10, DASO, FIXMATCH, LA, record, three

HEADER = "method,setting,mean,std,n,protocol,source\n"
THEIRS = "DebiasPL,cifar10_n500_m4000_g100,80.6,0.5,3,usb,Wang et al. 2022\n"
FIELD = Where("cifar10", n1="500", gamma_l="100", gamma_u="100")
ALL = [("1", Where()), ("mine", Where()), ("field", FIELD)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    three(root, FIXMATCH, (70.0, 72.0, 74.0))
    three(root, DASO, (75.0, 77.0, 76.0))
    three(root, LA, (71.0, 73.0, 75.0))
    return root


@pytest.fixture
def theirs(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(HEADER + THEIRS)
    return path


def made(root, name, where=None, **options):
    return make_tables(name, collect([root]), Options(**options), where or Where())


def html(*tables):
    from daso.report.page import table_page

    return table_page(*tables)


FORMATS = {"markdown": markdown, "latex": latex, "csv": as_csv, "html": html}


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
    assert report(["table=mine", f"runs={root}", f"keys={','.join(key[:8] for key in keys)}"]) == 0
    assert re.search(r"\| fixmatch +\| 72\.0 ± 2\.83 \(2\)†", capsys.readouterr().out)
    assert report(["table=mine", f"runs={root}", "keys=zzz"]) == 2
    assert "keys=zzz is not possible: it must fit one of 9 runs; it fits none." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["1", "mine"])
def test_a_table_shows_the_settings_that_are_asked_for(root, tmp_path, name, capsys):
    record(tmp_path, ("dataset=cifar10", "imbalance=cifar10_n1500_m3000_g100", "algorithm=fixmatch"), 0, 80.0)
    where = ["dataset=cifar10", "n1=500", "gamma_l=100"]
    assert report([f"table={name}", f"runs={root},{tmp_path}", *where]) == 0
    shown = capsys.readouterr().out
    assert "500" in shown
    assert "N1=1500" not in shown
    assert report([f"table={name}", f"runs={root}", "n1=7"]) == 2
    assert "n1=7 is not possible" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("cifar10_n500_m4000_g100", ("500", "4000", "100", "100")),
        ("cifar10_n500_m4000_g100_reversed", ("500", "4000", "100", "1/100")),
        ("cifar10_n500_m4000_g100_middle", ("500", "4000", "100", "100", "middle")),
        ("CIFAR10-LT γ=100 N1=500 M1=4000", ("500", "4000", "100", "100")),
        ("cifar10 N1=500 gl=100 gu=0.01", ("500", "", "100", "1/100")),
        ("stl10_n150_g20", ("150", "unknown", "20", "unknown")),
    ],
)
def test_a_setting_is_read_as_people_and_tables_write_it(text, setting):
    place = read_place(text)
    assert place.dataset in ("cifar10", "stl10")
    assert tuple(place.setting)[: len(setting)] == setting


@pytest.mark.parametrize(("name", "where"), ALL)
@pytest.mark.parametrize("kind", FORMATS)
def test_results_of_other_code_stand_in_a_table_and_are_marked(root, theirs, name, where, kind):
    tables = made(root, name, where, external=read_external(theirs))
    text = "".join(FORMATS[kind](table) for table in tables)
    number = {"markdown": "80.6 ± 0.5 (3)¶ [", "latex": r"80.6 $\pm$ 0.5 (3)\textsuperscript{\P{}", "csv": "80.6,0.5"}
    assert text.count(number.get(kind, "80.6 ± 0.5 (3)¶<sup>")) == 1
    assert text.count("External: Wang et al. 2022, protocol usb.") == 1
    assert ("neither trained nor ranked here" in text) is (kind != "csv")
    (table,) = [table for table in tables if any(entry.external for entry in table.entries.values())]
    assert table.label(table.rows[-1]) == "DebiasPL ¶"
    if name == "field":
        assert "protocol usb" in table.title


def test_an_external_result_is_in_the_only_column_of_own_numbers_and_never_ranked(root, theirs):
    (table,) = made(root, "1", columns="own", external=read_external(theirs))
    assert re.search(r"\| DebiasPL ¶ +\| 80\.6 ± 0\.5 \(3\)¶ \[1\] +\|", markdown(table))
    assert max(table.entries.values(), key=lambda entry: entry.rank == 1).sample.mean == 76.0
    (line,) = [line for line in csv.DictReader(io.StringIO(as_csv(table))) if line["external"]]
    assert (line["mean"], line["published_mean"], line["external_n"]) == ("", "80.6", "3")


def test_a_setting_that_no_run_has_gets_a_column_of_own_tables_and_a_note_in_the_paper_s(root, theirs):
    theirs.write_text(HEADER + "A,digits N1=20 γl=10 γu=1,90,,,,a thesis\n" + "B,digits N1=20 γl=10 γu=1,91,,,,b\n")
    (mine,) = made(root, "mine", external=read_external(theirs))
    assert tuple(mine.columns[-1]) == ("digits", "N1=20 gl=10 gu=1")
    assert len(mine.columns) == 2
    (paper,) = made(root, "1", external=read_external(theirs))
    assert any("Not shown: 2 external results, of settings that this table has not" in note for note in paper.notes)


def test_a_setting_that_fits_several_columns_is_refused_with_them(tmp_path, theirs):
    for steps in (1000, 2000):
        record(tmp_path, FIXMATCH, 0, 70.0, steps=steps)
    with pytest.raises(UserError, match=r"line 2: setting=cifar10_n500_m4000_g100 is not possible: it fits .* steps"):
        made(tmp_path, "mine", external=read_external(theirs))
    theirs.write_text(HEADER + '"A",cifar10 N1=500 gl=100 gu=100 steps=2000,70,,,,b\n')
    (table,) = made(tmp_path, "mine", external=read_external(theirs))
    assert [column.label for row, column in table.entries if row.startswith("A")] == ["N1=500 gl=100 gu=100 steps=2000"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("method,setting,mean\n", "line 1: source is missing; the first line is method,setting,mean,std,n,protocol"),
        ("method;setting;mean;source\n", "line 1: columns are separated by ; where commas belong; the first line is"),
        (HEADER.replace("std", "sd"), "line 1: sd is not possible: one of method, setting, mean, std"),
        (HEADER, "has no row: below its first line stands, for example, DebiasPL"),
        (HEADER + THEIRS + "A,digits,1,,,,x\n", "line 3: setting=digits is not possible: an option of imbalance="),
        (HEADER + THEIRS.replace("80.6", "806"), "line 2: mean=806 is not possible: a number in percent"),
        (HEADER + THEIRS.replace("80.6", "nan"), "line 2: mean=nan is not possible"),
        (HEADER + THEIRS.replace("0.5", "-1"), "line 2: std=-1 is not possible"),
        (HEADER + THEIRS.replace(",3,", ",0,"), "line 2: n=0 is not possible: a number of seeds, 1 or more."),
        (HEADER + THEIRS.replace("Wang et al. 2022", ""), "line 2: source= is empty: write where the number is from."),
        (HEADER + THEIRS.replace("Debias", "Debi,as"), "line 2: it has not as many values as the first line"),
        (HEADER + "A,x,1,,,,s\n" + THEIRS + "B,y,1,,,,s\n", "as tables print it: cifar10 N1=500 gl=100 gu=100 (so line 4"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_file_and_line(theirs, content, says, capsys, root):
    theirs.write_text(content)
    assert report(["table=mine", f"runs={root}", f"external={theirs}"]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert str(theirs) in error
    assert error.count("\n") == 1


def test_a_second_number_of_one_cell_and_a_file_that_is_not_there_are_refused(theirs, root, capsys):
    theirs.write_text(HEADER + THEIRS + THEIRS)
    assert report(["table=1", f"runs={root}", f"external={theirs}"]) == 2
    assert "line 3: DebiasPL has a second number on CIFAR10-LT γ=100" in capsys.readouterr().err
    theirs.write_text(HEADER + "A,N1=20 gl=10 gu=1,90,,,,a thesis\n")
    assert report(["table=1", f"runs={root}", f"external={theirs}"]) == 2
    assert capsys.readouterr().err.endswith("or as tables print it: cifar10 N1=500 M1=4000 γ=100.\n")
    for overrides in (("dataset=digits", "imb.n1=20", "imb.m1=80", "imb.gamma_l=10", "imb.gamma_u=1"), C10):
        record(theirs.parent / "runs", (*overrides, "algorithm=fixmatch"), 0, 70.0)
    assert report(["table=mine", f"runs={theirs.parent / 'runs'}", f"external={theirs}"]) == 2
    assert capsys.readouterr().err.endswith("or as tables print it: digits N1=20 gl=10 gu=1.\n")
    assert report(["table=1", "external=nowhere.csv"]) == 2
    assert "external=nowhere.csv cannot be read: no such file or directory." in capsys.readouterr().err


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
        (["html=report.html", "n1=500"], "n1= has no effect on html=: it is for table, figure=."),
    ],
)
def test_what_contradicts_itself_is_refused_in_a_sentence(arguments, says, capsys):
    assert report(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(says)
    assert error.count("\n") == 1


def test_a_table_without_a_number_says_what_would_make_some_and_what_is_not_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    three(tmp_path / "wide", (*FIXMATCH, "model.width=4"), (70.0, 72.0, 74.0))
    assert report(["table=1", "columns=own", "runs=wide", "out=t.md"]) == 2
    assert not (tmp_path / "t.md").exists()
    assert capsys.readouterr().err.startswith(
        "table=1 has nothing to show: no finished run under runs=wide is of it; train some with "
        "python train.py -m experiment=table1_cifar10 or experiment=table1_cifar100, or name runs=. "
        "Not counted: 3 finished runs of these settings that no cell describes (model.width=4)."
    )
    assert report(["table=mine"]) == 2
    assert capsys.readouterr().err == (
        "table=mine has nothing to show: no finished run under runs=outputs is of it; finish some, or name runs=.\n"
    )
    assert report(["table=1", "runs=wide"]) == 0  # the published numbers


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
        ("t", ["format=csv"], "table,dataset"),
    ],
)
def test_the_suffix_of_a_table_s_file_is_its_format(name, more, begins, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report(["table=5", f"out={name}", *more]) == 0
    assert (tmp_path / name).read_text().startswith(begins)


def flaws(text):
    """What would stop LaTeX, or put a cell into another column, in a text that begins with nothing open."""
    found = []
    if bad := {sign for sign in text if ord(sign) > 127 and not sign.isalpha()}:
        found.append(f"signs without a meaning: {bad}")
    columns = 0
    for line in (line.removesuffix("{%") for line in text.splitlines() if not line.startswith("%")):
        bare = re.sub(r"\\[\\{}$&%_#]", "", line)
        if len(re.findall(r"(?<!\\)\$", line)) % 2:
            found.append(f"mathematics without an end: {line}")
        if re.search(r"(?<!\\)[_^#~%]", re.sub(r"\$.*?\$", "", line)):
            found.append(f"a bare sign: {line}")
        if begun := re.match(r"\\begin\{tabular\}\{([lc]+)\}", line):
            columns = len(begun[1])
        if line.endswith(r"\\"):
            spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
            if bare.count("&") + 1 + spans != columns:
                found.append(f"{columns} columns: {line}")
    found += ["tabular"] * (text.count(r"\begin{tabular}") != text.count(r"\end{tabular}"))
    bare = re.sub(r"\\[{}]", "", "\n".join(line for line in text.splitlines() if not line.startswith("%")))
    return found + ["braces"] * (bare.count("{") != bare.count("}"))


ODD = 'α_1 & "50 %" #{x}^2~\\ été 中 ≤ 3'


@pytest.mark.parametrize("name", [*TABLES, "mine", *("cifar10", "cifar100", "stl10", "semi-aves:U=in")])
def test_every_table_is_latex_that_compiles(name, root, theirs):
    quoted = ODD.replace('"', '""')
    theirs.write_text(HEADER + f'"{quoted}",cifar10_n500_m4000_g100,80.6,0.5,3,usb,"{quoted}"\n')
    where = Where() if name == "mine" or name in TABLES else Where(name)
    kind = "field" if where.dataset else name
    for columns in ("both", "own", "published") if kind != "mine" else ("both", "own"):
        options = Options(columns=columns, names="paper", external=read_external(theirs), baseline="")
        for table in make_tables(kind, collect([root]), options, where):
            assert flaws(latex(table)) == []


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="apt install texlive-latex-recommended")
def test_a_document_of_tables_compiles(root, theirs, tmp_path):
    quoted = ODD.replace('"', '""')
    theirs.write_text(HEADER + THEIRS + f'"{quoted}",cifar10_n500_m4000_g100,80.6,0.5,3,usb,"{quoted}"\n')
    options = {"names": "paper", "external": read_external(theirs), "baseline": "fixmatch"}
    tables = [table for name, where in ALL for table in made(root, name, where, **options)]
    text = "\n\n".join(map(latex, tables))
    begin = "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}"
    (tmp_path / "paper.tex").write_text(f"{begin}\n{text}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


def test_the_check_of_latex_finds_what_latex_would():
    table = "\\begin{tabular}{lc}\n%s\n\\end{tabular}\n"
    assert flaws(table % r"a & b \\") == []
    for wrong in (r"a & b & c \\", r"a_1 & b \\", r"a & {b \\", r"a & $b \\", r"a & 5% \\", r"a & ≤ \\"):
        assert flaws(table % wrong), wrong


def test_places_that_leave_something_unsaid_fit_what_says_it():
    place = read_place("cifar10 N1=500 γ=100")
    assert place.fits("cifar10", read_place("cifar10_n500_m4000_g100").setting)
    assert not place.fits("cifar100", read_place("cifar10_n500_m4000_g100").setting)
    assert not place.fits("cifar10", read_place("cifar10_n500_m4000_g100_reversed").setting)
    assert isinstance(place, Place)
    assert C10[1] == "imbalance=cifar10_n500_m4000_g100"


def test_trials_of_a_search_are_no_rows_of_own_runs_until_their_keys_are_named(tmp_path, capsys):
    three(tmp_path, DASO, (75.0, 77.0, 76.0))
    folder = record(tmp_path, (*DASO, "daso.t_dist=0.71"), 0, 70.0)
    (folder / "run.json").write_text(json.dumps({"tags": {"run_key": folder.name, "sweep_name": "study mine"}}))
    assert report(["table=mine", f"runs={tmp_path}"]) == 0
    said = capsys.readouterr()
    assert "t_dist" not in said.out
    assert said.err == "Left out: 1 trial of the study mine, which have a table of their own; keys= shows them here.\n"
    assert report(["table=mine", f"runs={tmp_path}", f"keys={folder.name}"]) == 0
    assert "70" in capsys.readouterr().out


def test_a_row_that_is_misspelt_is_said_before_the_baseline_and_with_what_was_meant(tmp_path, capsys):
    three(tmp_path, DASO, (75.0, 77.0, 76.0))
    assert report(["table=mine", f"runs={tmp_path}", "rows=fixmatch_dasso", "baseline=fixmatch_daso"]) == 2
    assert (
        capsys.readouterr().err
        == "rows=fixmatch_dasso is not possible: nearest is fixmatch_daso; there are fixmatch_daso.\n"
    )
