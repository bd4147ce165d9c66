"""Figures for print: their width, their fonts, and the text beside them."""

import re
from shutil import copytree
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from daso.errors import UserError
from daso.report.__main__ import configure, form_of, main
from daso.report.arguments import parse
from daso.report.figures.canvas import Canvas
from daso.report.figures.figure import draw
from daso.report.figures.own import file_part
from daso.report.figures.specs import alike
from daso.report.tables.table import Options
from tests.report.fake import C10, journal, record

METHODS = ("fixmatch", "fixmatch_daso")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for method in METHODS:
        values = {f"{name}/{k}": 0.5 for name in ("test/class", "pl/final/recall/class") for k in range(10)}
        folder = record(root, (*C10, f"algorithm={method}"), 0, 70.0, steps=1000, **values)
        journal(folder, [(500, values), (1000, values)])
    return root


def drawn(runs, folder, monkeypatch, *arguments):
    monkeypatch.chdir(folder)
    code = main(["figure=3", f"runs={runs}", *arguments])
    return code, sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("width", "points"), [("column", 234.0), ("text", 495.0), ("5", 360.0)])
def test_a_pdf_is_as_wide_as_is_asked_for_and_holds_its_fonts_as_truetype(runs, tmp_path, monkeypatch, width, points):
    code, files = drawn(runs, tmp_path, monkeypatch, "out=fig.pdf", f"width={width}")
    assert (code, files) == (0, ["fig.pdf", "fig.txt"])
    content = (tmp_path / "fig.pdf").read_bytes()
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ", content)
    assert float(box[1]) == points
    assert b"/FontFile2" in content  # an embedded TrueType font
    assert b"/CIDFontType2" in content
    assert b"/Type3" not in content


def test_what_is_to_be_known_of_a_figure_stands_in_a_text_beside_it(runs, tmp_path, monkeypatch):
    assert drawn(runs, tmp_path, monkeypatch, "format=svg", "names=paper") == (
        0,
        ["figure3.svg", "figure3.txt"],
    )
    said = (tmp_path / "reports" / "figure3.txt").read_text().splitlines()
    assert said[0] == "Figure 3: CIFAR10-LT N1=500 M1=4000 γl=100 γu=100"
    assert "FixMatch w/ DASO (seed 0, 1000 of 250000 steps)†‡" in said
    assert "† fewer than 3 seeds" in said
    assert "minority: fifth with fewest labeled images" in said
    assert any("FixMatch's recall of the fifth with fewest images ends at 0.25" in line for line in said)
    picture = (tmp_path / "reports" / "figure3.svg").read_text()
    drawn_words = re.findall(r"<!-- (.*?) -->", picture)  # each text is drawn as outlines, and named so
    assert {"FixMatch", "FixMatch w/ DASO", "overall", "published"} <= set(drawn_words)
    assert not any(word in " ".join(drawn_words) for word in ("Figure", "seed", "†", "0.25"))
    assert ElementTree.fromstring(picture).get("width") == "234pt"


def test_a_png_for_print_has_its_width_at_600_dots_an_inch(runs, tmp_path, monkeypatch):
    assert drawn(runs, tmp_path, monkeypatch, "out=made/fig.png")[0] == 0
    assert Image.open(tmp_path / "made" / "fig.png").width == 1950


def test_without_a_format_a_folder_gets_pictures_to_look_at(runs, tmp_path, monkeypatch):
    assert drawn(runs, tmp_path, monkeypatch, "out=made")[1] == ["figure3.png", "figure3.svg"]
    assert "Figure 3" in " ".join(re.findall("<!-- (.*?) -->", (tmp_path / "made" / "figure3.svg").read_text()))


def test_several_pictures_of_one_name_are_told_apart_alike_in_files_and_folders(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Canvas, "save", lambda canvas, figure, path, notes: [path])
    (tmp_path / "none").mkdir()
    for out, names in (("fig.pdf", ["fig_a", "fig_b"]), ("made", ["made/figure10_a", "made/figure10_b"])):
        form = form_of(parse(["figure=10", f"out={out}"]))
        assert list(map(str, draw("10", [], Options(), configure, form))) == names


def test_a_figure_of_own_runs_has_the_name_that_is_asked_for(runs, tmp_path, monkeypatch):
    assert drawn(runs, tmp_path, monkeypatch, "own=true", "out=mine.pdf")[1] == ["mine.pdf", "mine.txt"]


def test_a_setting_of_many_words_is_a_file_of_a_short_name_of_its_own():
    assert file_part("cifar10_N1=500 gl=100 gu=1/100") == "cifar10_N1_500_gl_100_gu_1_100"
    long = "mine_folder_N1=20 gl=10 gu=1 files_checksum=6f63eda98ab828a9 store=false store_side=256 resolution="
    names = {file_part(f"{long}{side}") for side in (32, 64)}
    assert sorted(map(len, names)) == [89, 89]
    assert (
        file_part(f"{long}32")
        == "mine_folder_N1_20_gl_10_gu_1_files_checksum_6f63eda98ab828a9_store_false_store_s_4ba544bc"
    )


@pytest.fixture(scope="module")
def two_settings(runs, tmp_path_factory):
    root = tmp_path_factory.mktemp("two_settings")
    for method in METHODS:
        for imbalance in ("imbalance=cifar10_n500_m4000_g100", "imbalance=cifar10_n500_m4000_g100_reversed"):
            values = {f"{name}/{k}": 0.5 for name in ("test/class", "pl/final/recall/class") for k in range(10)}
            folder = record(root, ("dataset=cifar10", imbalance, f"algorithm={method}"), 0, 70.0, steps=1000, **values)
            journal(folder, [(500, values), (1000, values)])
    return root


def test_of_several_settings_and_methods_some_are_chosen(two_settings, tmp_path, monkeypatch, capsys):
    assert drawn(two_settings, tmp_path, monkeypatch, "own=true", "out=all.pdf")[0] == 0
    told = "There is a figure for each of 2 settings; for one alone, named all, add one of:"
    assert f"{told}\n  gamma_u=100\n  gamma_u=1/100\n" in capsys.readouterr().out
    assert len(list(tmp_path.glob("all_*.pdf"))) == 2
    chosen = "own=true", "out=one.pdf", "gamma_u=0.01", "dataset=cifar10", "rows=*_daso"
    assert drawn(two_settings, tmp_path, monkeypatch, *chosen)[0] == 0
    assert [path.name for path in tmp_path.glob("one*.pdf")] == ["one.pdf"]
    told = (tmp_path / "one.txt").read_text()
    assert "N1=500 gl=100 gu=1/100" in told
    assert "fixmatch_daso (seed 0)" in told
    assert "fixmatch (" not in told


def test_where_knobs_tell_settings_apart_all_runs_of_one_are_named(tmp_path, monkeypatch, capsys):
    made = {1000: [], 2000: []}
    for steps in made:
        for seed in (0, 1):
            values = {f"{name}/{k}": 0.5 for name in ("test/class", "pl/final/recall/class") for k in range(10)}
            folder = record(tmp_path / "runs", (*C10, "algorithm=fixmatch"), seed, 70.0, steps=steps, **values)
            journal(folder, [(steps, values)])
            made[steps].append(folder.name)
    assert drawn(tmp_path / "runs", tmp_path, monkeypatch, "own=true", "out=all.pdf")[0] == 0
    said = re.findall(r"^  keys=(\S+)  # .* steps=(\d+)$", capsys.readouterr().out, re.MULTILINE)
    assert {int(steps): sorted(keys.split(",")) for keys, steps in said} == {
        steps: sorted(keys) for steps, keys in made.items()
    }


def test_settings_without_what_a_figure_shows_are_counted_apart(two_settings, tmp_path, monkeypatch, capsys):
    root = tmp_path / "runs"
    copytree(two_settings, root)
    assert drawn(root, tmp_path, monkeypatch, "figure=12", "own=true", "out=one.pdf")[0] == 2
    assert "as it shows unlabeled images that are known to be of none of the classes;" in capsys.readouterr().err
    np.savez(min(root.iterdir()) / "openset.npz", edges=np.arange(4.0), inside=np.ones(3), outside=np.ones(3))
    assert drawn(root, tmp_path, monkeypatch, "figure=12", "own=true", "out=one.pdf")[0] == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "wrote one.pdf",
        "wrote one.txt",
        "Left out: 1 setting without unlabeled images that are known to be of none of the classes.",
    ]


def test_a_picture_that_cannot_be_made_leaves_the_others(two_settings, tmp_path, monkeypatch, capsys):
    def confusion(run):
        if run.config["imb"]["gamma_u"] == 100:
            raise UserError("Run 12 has no checkpoint: this picture needs one.")
        return np.eye(10)

    monkeypatch.setattr("daso.report.figures.features.confusion", confusion)
    asked = "figure=9", "own=true", "out=all.pdf"
    assert drawn(two_settings, tmp_path, monkeypatch, *asked)[1] == [
        "all_cifar10_N1_500_gl_100_gu_1_100.pdf",
        "all_cifar10_N1_500_gl_100_gu_1_100.txt",
    ]
    assert "Left out: Run 12 has no checkpoint: this picture needs one.\n" in capsys.readouterr().out
    assert drawn(two_settings, tmp_path, monkeypatch, *asked, "gamma_u=100")[0] == 2
    assert capsys.readouterr().err == "Run 12 has no checkpoint: this picture needs one.\n"


def test_panels_and_methods_of_a_paper_figure_are_chosen_as_those_of_a_table(runs, tmp_path, monkeypatch):
    assert drawn(runs, tmp_path, monkeypatch, "figure=10", "dataset=cifar10", "rows=fixmatch", "out=one.pdf") == (
        0,
        ["one.pdf", "one.txt"],
    )
    told = (tmp_path / "one.txt").read_text()
    assert "FixMatch (seed 0" in told
    assert "DASO" not in told


def test_the_page_shows_the_methods_that_are_asked_for(two_settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["html=page.html", f"runs={two_settings}", "rows=fixmatch"]) == 0
    tables, _, listing = (tmp_path / "page.html").read_text().rpartition("<table")
    assert "fixmatch_daso" not in tables
    assert "fixmatch_daso" in listing  # every run that was read


def test_titles_have_the_letters_that_are_asked_for(two_settings, tmp_path, monkeypatch):
    for more, ratio in (("names=plain", "gl=100 gu=100"), ("names=paper", "γl=100 γu=100")):
        for own in ("own=true", "own=false"):
            asked = "gamma_u=100", more, own, "out=one.pdf"
            assert drawn(two_settings, tmp_path, monkeypatch, *asked)[0] == 0
            assert (tmp_path / "one.txt").read_text().partition("\n")[0].endswith(ratio)


def test_a_figure_of_own_runs_says_which_others_are_the_same(two_settings, tmp_path, monkeypatch, capsys):
    assert alike("6") == ["5", "6", "7", "8"]
    assert alike("11") == ["4", "11"]
    assert alike("3") == ["3"]  # Figure 10 has a curve more
    drawn(two_settings, tmp_path, monkeypatch, "figure=6", "own=true", "gamma_u=100", "out=one.pdf")
    assert "Figures 5, 6, 7 and 8 of own runs are one picture: only" in capsys.readouterr().out


def test_the_same_figure_is_the_same_file(runs, tmp_path, monkeypatch):
    for name in ("one", "two"):
        drawn(runs, tmp_path, monkeypatch, f"out={name}.pdf")
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["out=fig.pdf", "format=svg"], "out=fig.pdf is not possible with format=svg: name it fig.svg, or leave"),
        (["out=fig.eps"], "out=fig.eps is not possible: a figure is written as .pdf, .svg or .png or into a folder."),
        (["out=fig.tex"], "out=fig.tex is not possible: a figure is written as .pdf"),
        (["format=latex"], "format=latex is not possible: a figure has one of pdf, svg, png."),
        (["width=text"], "width=text has no effect without a format of papers: add format=pdf."),
        (["format=pdf", "width=wide"], "width=wide is not possible: column or text, or inches from 1 to 20."),
        (["format=pdf", "width=nan"], "width=nan is not possible"),
        (["format=pdf", "names=long"], "names=long is not possible: one of plain, paper."),
        (["n1=20"], "n1=20 is not possible: Figure 3 has dataset=cifar10 N1=500"),
        (["own=true", "n1=20"], "n1=20 is not possible: no run has it; the runs have 500."),
        (
            ["rows=fixmtach"],
            "rows=fixmtach is not possible: nearest is FixMatch; there are FixMatch and FixMatch + DASO.",
        ),
        (["own=true", "rows=foo"], "rows=foo is not possible: there are fixmatch and fixmatch_daso."),
        (["format=pdf", "bold=false"], "bold= has no effect on figure=: it is for table, html="),
    ],
)
def test_a_wrong_form_is_refused_in_a_sentence(runs, tmp_path, monkeypatch, capsys, arguments, says):
    assert drawn(runs, tmp_path, monkeypatch, *arguments) == (2, [])
    error = capsys.readouterr().err
    assert error.startswith(says)
    assert error.count("\n") == 1


@pytest.mark.parametrize("called", [[], [f"{'long ' * (k % 3)}name {k}" for k in range(10)]], ids=["C0", "named"])
@pytest.mark.parametrize("name", ["2", "3", "5", "9"])
def test_no_word_of_a_printed_figure_leaves_it(tmp_path, name, called):
    from daso.report.figures import draw as pictures
    from daso.report.figures.canvas import Canvas, Paper, Series
    from daso.report.figures.classes import groups
    from daso.report.figures.printed import published

    series = [
        Series(method, [], published(name, "", "fixmatch", "daso")) for method in ("FixMatch", "FixMatch w/ DASO")
    ]
    canvas = Canvas(Paper("pdf", 3.25))
    with canvas.style():
        if name == "2":
            figure = pictures.bars(series, groups(10), "", canvas, called)
        elif name == "3":
            figure = pictures.curves(series, 10, "", ("overall",), canvas)
        elif name == "5":
            figure = pictures.scatter(series, 10, "", canvas, called)
        else:
            figure = pictures.matrices({"published": {one.label: np.eye(10) for one in series}}, "", canvas, called)
        figure.draw_without_rendering()
        whole = figure.bbox
        for text in [text for ax in figure.axes for text in (ax.xaxis.label, ax.yaxis.label, ax.title)]:
            box = text.get_window_extent()
            assert not text.get_text() or (box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1)
            assert not text.get_text() or (box.y0 >= whole.y0 - 1 and box.y1 <= whole.y1 + 1)
        for legend in figure.legends:
            assert legend.get_window_extent().x1 <= whole.x1
    assert figure.get_figwidth() == 3.25
