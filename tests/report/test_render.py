"""Tables of recorded runs as Markdown, LaTeX and CSV."""

import csv
import io
import re
import string

from daso.report.__main__ import make_table
from daso.report.tables.render import _tex, as_csv, latex, markdown
from daso.report.tables.table import Options
from tests.report.fake import DASO, FIXMATCH, LA, entry, record, table, three


def test_a_cell_that_the_paper_prints_twice_bears_its_footnote():
    text = markdown(make_table("11", [], Options()))
    assert "57.1 ± 0.65 [1]" in text
    assert "[1] The paper prints this cell twice: 57.4 ± 0.18 in Table 1, 57.1 ± 0.65 in Table 11." in text


def test_independent_runs_stand_beside_the_paper_s(tmp_path):
    found = entry(make_table("1", [], Options(usb=True)), "FixMatch")
    assert (found.usb.mean, found.usb.std) == (72.41, 1.71)
    assert "67.8 ± 1.13 / 72.4 ± 1.71" in markdown(make_table("1", [], Options(usb=True)))


def test_csv_has_a_line_for_every_cell_with_its_configuration(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    lines = list(csv.DictReader(io.StringIO(as_csv(table(tmp_path)))))
    assert len(lines) == 96
    (line,) = [li for li in lines if li["mean"]]
    assert line["configuration"] == " ".join(FIXMATCH)
    assert (line["mean"], line["std"], line["seeds"], line["published_mean"]) == ("72.0", "2.0", "0 1 2", "67.8")


def test_latex_is_balanced_and_escaped(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    three(tmp_path, DASO, (75.0, 77.0, 76.0))
    text = latex(table(tmp_path))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert r"\textbf{76.0 $\pm$ 1.00} (3) & 76.0 $\pm$ 0.37\textsuperscript{1} & +0.0" in text
    printed = "".join(line for line in text.splitlines() if not line.startswith("%"))
    assert not set(printed) & set("±γ—†")
    rows = [line for line in text.splitlines() if line.startswith("FixMatch ")]
    assert {row.count("&") for row in rows} == {12}


def test_latex_prints_footnotes_signs_and_usb_as_the_other_formats_do(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    three(tmp_path, DASO, (70.5, 74.0, 75.0))  # differences 0.5, 2, 1: t = 2.65, p = 0.12
    three(tmp_path, LA, (71.0, 73.1, 75.0))  # 1, 1.1, 1: p = 0.001
    text = latex(table(tmp_path, baseline="fixmatch", usb=True))
    printed = [line for line in text.splitlines() if not line.startswith("%")]
    assert any(r"80.1 $\pm$ 1.16\textsuperscript{2}" in line for line in printed)
    assert any(line.startswith(r"\textsuperscript{2} The text speaks of a gain of 13") for line in printed)
    assert any(line.startswith("* differs from FixMatch at p $<$ 0.05") for line in printed)
    assert "\\\\\n*" not in text  # which LaTeX takes for an argument of the line's end
    row = next(line for line in printed if line.startswith("FixMatch + LA &"))
    assert row.count("&") == 16
    assert "$-$2.3" in row
    own, paper, usb = (
        cell.strip() for cell in next(li for li in printed if li.startswith("FixMatch &")).split("&")[1:4]
    )
    assert (own, paper, usb[:4]) == (r"72.0 $\pm$ 2.00 (3)", r"67.8 $\pm$ 1.13", "72.4")


def test_latex_raises_the_signs_of_own_numbers_and_prints_what_they_mean(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 10.0), steps=1000)
    printed = [line for line in latex(table(tmp_path)).splitlines() if not line.startswith("%")]
    (row,) = [line for line in printed if line.startswith("FixMatch & 40.0")]
    assert r"(2, 1000 of 250000 steps, median of 2)\textsuperscript{$\dagger$$\ddagger$!} & 67.8" in row
    for start in (r"$\dagger$ fewer than 3 seeds", r"$\ddagger$ trained for fewer steps", "! holds a seed"):
        assert any(line.startswith(start) for line in printed)


def test_footnotes_are_numbered_as_one_reads():
    (ten, hundred) = (block for block in markdown(make_table("1", [], Options())).split("### ")[1:])
    assert "80.1 ± 1.16 [2]" in ten
    assert "57.4 ± 0.18 [3]" in hundred


def test_a_table_too_wide_for_the_terminal_goes_on_below(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    made = table(tmp_path)
    whole = markdown(made)
    for width in (80, 100, 120):
        text = markdown(made, width)
        assert max(map(len, text.splitlines())) <= width
        for cell in ("72.0 ± 2.00 (3) / 67.8 ± 1.13 / +4.2", "— / 55.3 ± 0.53 / —"):
            assert text.count(cell) == whole.count(cell) == 1
    assert whole.count("| method") == 2
    assert [block.count("| method") for block in markdown(made, 120).split("### ")] == [0, 2, 1]
    assert all(row.startswith("| FixMatch + DASO ") for row in whole.splitlines() if "76.0 ± 0.37" in row)


def test_no_sign_that_means_something_to_latex_is_left_bare():
    printed = _tex(string.punctuation + "γl±†‡§—")
    bare = re.sub(r"\\[a-zA-Z]+(\{\})?|\\[{}$&%_#]|\$(\\[a-z]+(_[lu])?|<|>)\$", "", printed)
    assert not set(bare) & set("\\{}$&%_#^~<>|"), bare


def test_a_table_that_goes_on_below_repeats_no_row_in_which_nothing_stands(tmp_path):
    record(tmp_path, FIXMATCH, 0, 70.0)
    record(tmp_path, (*DASO, "optim.lr=0.1"), 0, 80.0)
    made = table(tmp_path, "mine")
    assert [markdown(made, width).count("| fixmatch") for width in (60, None)] == [2, 2]
    assert markdown(made, 60).count("| method") == 2
    assert "—" not in markdown(made, 60).partition("Notes")[0]
