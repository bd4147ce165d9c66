"""The HTML page, from recorded runs."""

import base64
import re
from xml.etree import ElementTree

import pytest

from daso.errors import UserError
from daso.report.__main__ import configure, main
from daso.report.collect import collect
from daso.report.page import page
from daso.report.tables.table import Options
from tests.report.fake import DASO, FIXMATCH, journal, record, recorded


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The page of these runs, and of one that stopped at step 700."""
    root = tmp_path_factory.mktemp("runs")
    partial = record(root, DASO, 7)
    journal(partial, [(500, {}), (700, {})])
    (partial / "checkpoint.pt").touch()
    return page(recorded(root), Options(), configure)


def test_the_page_holds_everything_itself(shown):
    text = shown
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    assert "url(http" not in text
    assert text.count('src="data:image/svg+xml;base64,') == 2 + 3 + 3  # a panel each
    assert text.count('class="key"') == 3
    assert "Table 1:" in text  # with own cells
    assert "Table 2:" not in text  # without
    assert "80.5 ± 0.71" in text
    assert '<p class="notes">In pictures, balanced test accuracy: mean of the recalls' in text
    listed = re.findall(r"<td>(cifar10 [^<]*)</td>", text)
    assert len(listed) == 5
    assert listed == sorted(listed)  # seeds of a method together


def test_what_is_asked_of_tables_holds_for_those_of_the_page_and_its_pictures(runs, tmp_path):
    folder, theirs, out = runs[0].folder.root, tmp_path / "results.csv", tmp_path / "page.html"
    theirs.write_text("method,setting,mean,std,n,protocol,source\nTheirs,cifar10_n500_m4000_g100,80.6,,,usb,a paper\n")
    asked = ["names=paper", "columns=own", "bold=false", f"external={theirs}", "min_seeds=2"]
    assert main([f"html={out}", f"runs={folder}", *asked]) == 0
    text, plain = out.read_text(), page(runs, Options(min_seeds=2), configure)
    assert "FixMatch w/ DASO" in text
    assert "fixmatch_daso</td>" in plain
    assert "fixmatch_daso</td>" not in text
    assert ('class="first"' in plain, 'class="first"' in text) == (True, False)
    assert ("<th>published</th>" in plain, "<th>published</th>" in text) == (True, False)
    assert "Theirs ¶" in text
    for made, wanted in ((text, True), (plain, False)):
        (first, *_) = re.findall(r'<p class="key">(.*?)</p>', made)
        assert ("FixMatch w/ DASO (seeds 0-1)" in first) is wanted


def test_nothing_on_the_page_is_wider_than_a_phone_but_what_scrolls_and_says_so(shown):
    text = shown
    style = text[text.index("<style>") : text.index("</style>")]
    assert "img { width: 100%;" in style
    assert ".panels { display: flex; flex-wrap: wrap;" in style  # beside each other where there is room
    assert style.count("min-width: var(") == style.count("img { min-width: var(--least); }") == 1  # of what scrolls
    assert text.count("<img ") == len(re.findall('<div class="wide"[^>]*><img ', text)) > 0
    assert 'name="viewport" content="width=device-width' in text
    assert text.count("<table>") == text.count('<div class="wide"><table>') > 0
    assert ".cut::before" in style
    assert 'classList.toggle("cut", box.scrollWidth > box.clientWidth + spare(box)' in text  # not of padding alone


def test_every_letter_of_a_figure_is_9_px_high_in_a_window_of_390(shown):
    style = re.compile(r'style="--least: (\d+)px"><img alt="[^"]+" src="data:image/svg\+xml;base64,([^"]+)"')
    found = style.findall(shown)
    assert len(found) == 8
    for least, data in found:
        assert int(least) <= 390 - 25  # a phone shows all of it beside the page's margins
        svg = base64.b64decode(data).decode()
        width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
        points = [
            100 * float(scale) for scale in re.findall(r"scale\(([\d.]+) -", svg)
        ]  # glyphs are drawn at 100 points
        assert points
        assert min(points) * max(390, int(least)) / width > 8.99


def test_the_page_lists_what_tells_runs_of_one_name_apart(tmp_path):
    for rate in (0.1, 0.2):
        record(tmp_path, (*FIXMATCH, f"optim.lr={rate}"), 0, 70.0)
    listed = re.findall(r"<td>(cifar10 [^<]*)</td>", page(collect([tmp_path]), Options(), configure))
    assert listed == [f"cifar10 fixmatch N1=500 gl=100 gu=100 s0 lr={rate}" for rate in (0.1, 0.2)]


def test_the_page_says_how_far_a_run_is(shown):
    assert shown.count("<td>700 of 250000</td>") == 1
    assert shown.count("<td>250000 of 250000</td>") == 4


def test_the_page_is_dark_where_pages_are_and_states_no_colour_twice(shown):
    text = shown
    style = text[text.index("<style>") : text.index("</style>")]
    dark = style[style.index("prefers-color-scheme: dark") :]
    named = set(re.findall(r"(--[a-z]+):", style))
    assert named == set(re.findall(r"(--[a-z]+):", dark))  # each has a value in the dark
    assert "color-scheme: light dark" in style


def test_the_page_compares_with_the_baseline_in_every_table_that_has_it(runs, tmp_path):
    record(tmp_path / "runs", DASO, 2, 79.0)
    record(tmp_path / "runs", FIXMATCH, 2, 75.0)
    text = page(collect([tmp_path / "runs"]), Options(baseline="fixmatch"), configure)
    compared = {section.partition("<")[0] for section in text.split("<h2>")[1:] if "p=0.057" in section}
    # differences 10, 10, 4: t = 8 / 2 at 2 degrees of freedom, so p = 1 - 4 / sqrt(18)
    assert {"Own runs", "Table 1: labeled and unlabeled data equally imbalanced"} <= compared
    assert "Table 6: ablation of the blending weight v" in text  # which has no FixMatch
    assert not any(title.startswith("Table 6:") for title in compared)


def test_the_keys_of_a_setting_choose_what_the_page_shows(runs, tmp_path, capsys):
    root, out = runs[0].folder.root, tmp_path / "page.html"
    others = "dataset=cifar10", "imbalance=cifar10_n500_m4000_g100_reversed", "algorithm=fixmatch"
    record(root, others, 0, 60.0)
    assert main([f"html={out}", f"runs={root}", "gamma_u=100"]) == 0
    text = out.read_text()
    assert '<p class="notes">4 of 4 runs finished;' in text
    titles = re.findall(r"<h2>(Table \d+|cifar10[^<]*)", text)
    assert (titles[0], titles[-1]) == ("Table 1", "cifar10: N1=500 gl=100 gu=100")
    assert "Table 2" not in titles  # the run of it is of another setting
    assert "gu=1/100" not in text
    assert len(re.findall(r"<td>(cifar10 [^<]*)</td>", text)) == 4
    assert capsys.readouterr().err == ""  # of one setting there is little to wait for
    assert main([f"html={out}", f"runs={root}"]) == 0
    assert capsys.readouterr().err == "Drawing 2 settings.\n"
    assert main([f"html={out}", f"runs={root}", "recipe=daso", "n1=20"]) == 2
    assert "n1=20" in capsys.readouterr().err


def test_a_baseline_that_no_table_of_the_page_has_is_refused(runs):
    with pytest.raises(UserError, match="baseline=fixmatsch is not possible"):
        page(runs, Options(baseline="fixmatsch"), configure)


def test_the_bars_of_a_page_stand_over_the_names_of_the_classes(runs, monkeypatch):
    called = [f"bird {k}" for k in range(10)]
    lines = ["class,name", *(f"{k},{name}" for k, name in enumerate(called))]
    for run in runs:
        run.folder.classes.write_text("\n".join(lines))
    text = page(runs, Options(), configure)
    pictured = [
        base64.b64decode(data).decode() for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', text)
    ]
    assert sum("<!-- bird 7 -->" in svg for svg in pictured) == 3 + 3  # each class, and the third that it is of
    assert not any("<!-- C7" in svg for svg in pictured)
    assert not any("(C0 has" in svg for svg in pictured)


def test_the_page_of_a_table_escapes_what_it_shows(tmp_path):
    record(tmp_path, FIXMATCH, 0, 70.0)
    out = tmp_path / "table.html"
    assert main(["table=mine", f"runs={tmp_path}", "format=html", f"out={out}"]) == 0
    assert "<u>" not in out.read_text()
    assert re.findall(r"<h\d>(.*?)</h\d>", out.read_text()) == ["Own runs"]  # once
    ElementTree.fromstring(re.sub(r"<(meta|!doctype)[^>]*>", "", out.read_text()))


def test_a_page_without_a_finished_run_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["html=report.html"]) == 2
    assert (
        capsys.readouterr().err == "html= has nothing to show: there is no folder outputs; train some, or name runs=.\n"
    )
