"""Every table as LaTeX that compiles."""

import re
import shutil
import subprocess

import pytest

from daso.published.cells import TABLES
from daso.report.__main__ import make_tables
from daso.report.collect import collect
from daso.report.tables.external import read_external
from daso.report.tables.render import latex
from daso.report.tables.table import Options
from daso.report.where import Where
from tests.report.fake import ALL, FIELD, FIXMATCH, HEADER, THEIRS, made, record


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


def test_what_a_table_leaves_out_is_a_comment_in_a_paper_s_file(root, tmp_path):
    record(tmp_path, FIXMATCH, 3)
    (table,) = make_tables("1", collect([root, tmp_path]), Options(columns="own"))
    text = latex(table).splitlines()
    begins = ("Unfinished and not counted: 1 run (", "Left out: 9 rows and 7 columns")
    assert [sum(line.startswith(f"% {begin}") for line in text) for begin in begins] == [1, 1]
    assert sum(any(begin in line for begin in begins) for line in text) == 2


def test_the_check_of_latex_finds_what_latex_would():
    table = "\\begin{tabular}{lc}\n%s\n\\end{tabular}\n"
    assert flaws(table % r"a & b \\") == []
    for wrong in (r"a & b & c \\", r"a_1 & b \\", r"a & {b \\", r"a & $b \\", r"a & 5% \\", r"a & ≤ \\"):
        assert flaws(table % wrong), wrong


def test_a_file_of_latex_says_what_to_do_where_a_column_or_a_page_is_too_small_for_it(root):
    long, short = (latex(*made(root, name, where)) for name, where in (("field", FIELD), ("mine", None)))
    assert [text.count("\n% wider than a column of the paper? ") for text in (long, short)] == [1, 1]
    assert [" rows, longer than a page: " in text for text in (long, short)] == [True, False]
