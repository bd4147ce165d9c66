"""Results of other code in tables: where they stand, and what of their file is refused."""

import csv
import io
import re

import pytest

from daso.errors import UserError
from daso.report.__main__ import main as report
from daso.report.tables.external import read_external
from daso.report.tables.render import as_csv, markdown
from daso.report.where import Place, read_place
from tests.report.fake import ALL, C10, FIXMATCH, FORMATS, HEADER, THEIRS, made, record


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


def test_of_several_columns_that_fit_a_setting_it_is_that_of_which_nobody_has_set_anything_else(tmp_path, theirs):
    for more in ((), ("optim.lr=0.01",), ("optim.lr=0.1",)):
        record(tmp_path, (*FIXMATCH, *more), 0, 70.0)
    (mine,) = made(tmp_path, "mine", external=read_external(theirs))
    (column,) = (column for (_, column), entry in mine.entries.items() if entry.external)
    assert column.label == "N1=500 gl=100 gu=100 lr=0.03"


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


def test_places_that_leave_something_unsaid_fit_what_says_it():
    place = read_place("cifar10 N1=500 γ=100")
    assert place.fits("cifar10", read_place("cifar10_n500_m4000_g100").setting)
    assert not place.fits("cifar100", read_place("cifar10_n500_m4000_g100").setting)
    assert not place.fits("cifar10", read_place("cifar10_n500_m4000_g100_reversed").setting)
    assert isinstance(place, Place)
    assert C10[1] == "imbalance=cifar10_n500_m4000_g100"
