"""The field's table: every published number, protocol by protocol, beside own runs of the same recipe.

The oracle is `sota.csv`: the numbers as collected from the papers, by method, venue, setting and the tag of
their protocol.
"""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from daso.published.field import PROTOCOLS, RULES, reported
from daso.report.__main__ import configure, main, make_table
from daso.report.collect import collect
from daso.report.tables.field import Where, field_tables
from daso.report.tables.render import as_csv, latex, markdown
from daso.report.tables.table import Options
from tests.report.fake import C10, DASO, FIXMATCH, record, three

with Path(__file__).with_name("sota.csv").open(newline="") as file:
    GOLDEN = list(csv.DictReader(file))
PROTOCOL = {  # the tag of a collected number -> its protocol
    "daso-protocol": "daso",
    "daso-protocol, DASO codebase": "daso",
    "daso/acr-protocol": "acr",
    "acr-code": "acr",
    "acr-code; 43k steps, mu=8, lr 0.17": "simpro",
    "usb-protocol": "usb",
    "usb-protocol, best-on-test acc": "usb",
    "usb-protocol; some baseline cells equal DASO/ACR-paper values": "usb",
    "cdmad-protocol, bACC": "cdmad",
    "darp-code protocol": "darp",
    "foundation models, not WRN-28-2": "foundation",
    "SUSPECT: ACR CIFAR100 used WRN-28-8, see Gank0078/ACR issue 5": "wrn28_8",
}
DATASET = {"cifar10-lt": "cifar10", "cifar100-lt": "cifar100", "stl10-lt": "stl10"}
SPELLED = {  # a word of a collected method -> the project's
    "cb-reweight": "cb",
    "la(inference)": "la (inf)",
    "acr-without-anchors": "acr without anchors",
    "flexmatch-thresholds": "flexmatch thresholds",
    "freematch-thresholds": "freematch thresholds",
    "seval-pl": "seval (pseudo-labels alone)",
}
SMALL = Where("cifar10", n1="500", m1="4000", gamma_l="100", gamma_u="100")


def collected(row):
    """A collected number: methods as sets of words, settings in one way of writing."""
    method = re.sub(r" \(USB code\)| \(as first.*", "", row["method"]).lower().replace("_", "+")
    words = re.sub(r"\+(?=\+|$)", "*", method).split("+")  # the + that belongs to a name
    words = [SPELLED.get(word, word).replace("*", "+") for word in words]
    words += ["fixmatch"] * (words[0] in ("simpro", "softmatch"))
    dataset = (
        row["dataset"].replace(" (U=U", ":U=").replace("+Uout", "+out").removesuffix(" (balanced test)").rstrip(")")
    )
    ratio, _, shape = row["gamma_u"].removesuffix(")").partition(" (")
    if ratio == "arbitrary":
        ratio, shape = row["gamma_l"], "random"
    sizes = (row["n1"], "" if ratio == "unknown" else row["m1"], row["gamma_l"], ratio)
    place = (DATASET.get(dataset, dataset), *sizes, re.sub("[ -]", "_", shape))
    protocol = PROTOCOL.get(row["tag"], "unverified")
    return frozenset(words), row["venue"], place, protocol, float(row["mean"]), float(row["std"] or -1)


def ours(number):
    """A number of the project, likewise."""
    n1, m1, gamma_l, gamma_u, shape = number.setting
    sizes = (n1, "" if m1 == "unknown" else m1, "" if gamma_l == "natural" else gamma_l, gamma_u)
    words = frozenset(number.method.lower().split(" + "))
    place = (number.dataset, *sizes, "" if shape == "long_tailed" else shape)
    return words, number.venue, place, number.protocol, float(number.mean), float(number.std or -1)


def test_the_numbers_are_the_collected_ones_and_the_paper_s_further_prints_of_its_own():
    theirs, mine = Counter(map(collected, GOLDEN)), Counter(map(ours, reported()))
    assert len(GOLDEN) == 992
    assert theirs - mine == Counter()
    assert {key[3] for key in mine - theirs} == {"daso"}  # Table 4, and what Table 11 repeats


def test_every_number_has_a_known_protocol_and_rule_and_a_source():
    for number in reported():
        assert number.protocol in PROTOCOLS
        assert number.rule in RULES
        assert number.source
        assert number.recipe in ("", number.protocol)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "stl10", "imagenet-127-32x32", "semi-aves:U=in"])
def test_the_tables_of_a_data_set_hold_each_number_as_printed_in_the_table_of_its_protocol(dataset):
    tables = field_tables(Where(dataset), [], Options(), configure)
    printed = set()
    for table in tables:
        for (row, column), entry in table.entries.items():
            assert entry.difference is None
            printed.add((entry.protocol, table.labels[row], entry.venue, column.label, entry.published.printed))
    labels = {(n.protocol, n.method, n.venue, n.printed) for n in reported() if n.dataset == dataset}
    assert {(p, method, venue, text) for p, method, venue, _, text in printed} == labels
    assert [table.entries[row, column].protocol for table in tables for row, column in list(table.entries)[:1]] == [
        name for name in PROTOCOLS if any(n.dataset == dataset and n.protocol == name for n in reported())
    ]


def tables(root, where=SMALL, **options):
    return field_tables(where, collect([root]), Options(**options), configure)


def cell(made, method, venue, protocol="daso"):
    """The entries of a method's row in the table of a protocol."""
    (table,) = [t for t in made if f"protocol {protocol}:" in t.title]
    return [e for (row, _), e in table.entries.items() if table.labels[row] == method and table.facts[row][0] == venue]


def test_an_own_run_stands_beside_each_number_of_its_method_and_protocol_and_nowhere_else(tmp_path):
    three(tmp_path, (*C10, "algorithm=fixmatch_abc"), (80.0, 81.0, 82.0))
    made = tables(tmp_path)
    (paper,) = cell(made, "FixMatch + ABC", "CVPR 2022 (DASO)")
    (again,) = cell(made, "FixMatch + ABC", "(as in SEVAL)")
    assert [(e.sample.mean, e.difference) for e in (paper, again)] == [(81.0, pytest.approx(81.0 - 78.9))] * 2
    (other,) = cell(made, "FixMatch + ABC", "USB results 2023", "usb")
    assert (other.sample, other.published.printed) == (None, "82.02 ± 0.58")
    assert [table.own for table in made] == [2, 0, 0, 0, 0]


def test_a_number_quoted_from_another_protocol_is_footnoted_and_has_no_difference(tmp_path):
    for number in reported():
        if any("quoted" in note for note in number.notes):
            assert number.recipe == ""
    quoted = [
        n for n in reported() if n.protocol == "simpro" and n.method == "FixMatch + DASO" and n.printed == "76.0 ± 0.37"
    ]
    assert ["quoted from there" in n.notes[0] for n in quoted] == [True]


@pytest.mark.parametrize(
    ("protocol", "method", "says"),
    [
        ("wrn28_8", "FixMatch + ACR", "WRN-28-8"),
        ("usb", "FixMatch + DebiasPL", "changes nothing"),
        ("acr", "FixMatch + CPE", "best evaluation on the test set"),
        ("unverified", "CPG", "Second hand"),
    ],
)
def test_every_suspect_number_is_footnoted(protocol, method, says):
    found = [n for n in reported() if (n.protocol, n.method) == (protocol, method)]
    assert found
    assert all(any(says in note for note in n.notes) for n in found)


def test_a_method_that_nobody_has_published_has_a_row_of_its_own_with_what_it_differs_in(tmp_path):
    three(tmp_path, (*C10, "algorithm=fixmatch_la_da"), (70.0, 71.0, 72.0))
    three(tmp_path, (*DASO, "daso.queue_size=64"), (73.0, 74.0, 75.0), steps=6000)
    three(tmp_path, DASO, (75.0, 76.0, 77.0))
    (daso, *_) = made = tables(tmp_path)
    own = {daso.labels[row]: e for (row, _), e in daso.entries.items() if daso.facts[row][2] == "own runs"}
    assert {row: e.sample.mean for row, e in own.items()} == {
        "fixmatch_la_da": 71.0,
        "fixmatch_daso, daso.queue_size=64": 74.0,
    }
    assert own["fixmatch_daso, daso.queue_size=64"].marks(3) == "‡"
    assert all(e.published is None for e in own.values())
    assert cell(made, "FixMatch + DASO", "CVPR 2022")[0].sample.mean == 76.0


def test_a_run_that_differs_from_its_recipe_is_left_out_with_the_difference(tmp_path):
    three(tmp_path, (*FIXMATCH, "train.batch_size=8"), (70.0, 71.0, 72.0))
    (daso, *_) = tables(tmp_path)
    assert daso.own == 0
    assert any("3 finished runs" in note and "(train.batch_size=8)" in note for note in daso.notes)
    (named, *_) = tables(tmp_path, overrides=("train.batch_size=8",))
    assert named.own == 1
    assert "Own runs differ from the recipe daso by design: train.batch_size=8." in named.notes


def test_a_run_counts_in_the_protocol_of_its_recipe(tmp_path):
    three(tmp_path, (*FIXMATCH, "recipe=usb"), (70.0, 71.0, 72.0), **{"test/top1_best": 74.0})
    three(tmp_path, (*C10, "algorithm=fixmatch_da", "recipe=acr"), (60.0, 61.0, 62.0))
    made = tables(tmp_path)
    (usb,) = cell(made, "FixMatch", "USB results 2023", "usb")
    assert (usb.metric, usb.sample.mean, usb.difference) == ("test/top1_best", 74.0, pytest.approx(74.0 - 72.41))
    assert {t.title.split("protocol ")[1].split(":")[0]: t.own for t in made} == {
        **dict.fromkeys(("daso", "simpro", "unverified"), 0),
        "acr": 1,
        "usb": 2,  # SC-SSL prints another FixMatch in it
    }
    (acr,) = [t for t in made if "protocol acr:" in t.title]
    (row,) = [row for row in acr.rows if acr.facts[row][2] == "own runs"]
    assert acr.labels[row] == "fixmatch_da"
    (entry,) = [e for (r, _), e in acr.entries.items() if r == row]
    assert (entry.metric, entry.sample.mean) == ("test/top1_mean20", 61.0)


def test_a_setting_has_its_shape(tmp_path):
    middle = ("dataset=cifar10", "imbalance=cifar10_n500_m4000_g100_middle", "algorithm=fixmatch")
    three(tmp_path, middle, (70.0, 71.0, 72.0))
    three(tmp_path, FIXMATCH, (50.0, 51.0, 52.0))
    (made,) = [t for t in tables(tmp_path, SMALL._replace(shape="middle")) if "protocol daso:" in t.title]
    ((_, column), entry) = next(iter(made.entries.items()))
    assert (column.label, entry.sample.mean) == ("γ=100 N1=500 M1=4000 middle", 71.0)
    assert len(made.entries) == 1


def test_own_runs_in_several_recipes_stand_in_columns_that_name_them(tmp_path):
    for recipe, value in (("daso", 60.0), ("usb", 70.0), ("cdmad", 80.0)):
        three(tmp_path, (*FIXMATCH, f"recipe={recipe}"), (value, value, value))
    made = make_table("mine", collect([tmp_path]), Options())
    means = {c.label: made.entries[row, c].sample.mean for row in made.rows for c in made.columns}
    place = "N1=500 gl=100 gu=100 recipe="
    assert means == {f"{place}daso": 60.0, f"{place}usb": 70.0, f"{place}cdmad": 80.0}


def test_the_baseline_is_compared_within_a_protocol(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    three(tmp_path, DASO, (75.0, 77.1, 79.0))
    made = tables(tmp_path, baseline="fixmatch")
    assert cell(made, "FixMatch + DASO", "CVPR 2022")[0].marks(3) == "*"
    assert any("differs from FixMatch at p" in note for note in made[0].notes)


def test_a_number_selected_on_test_is_met_by_an_own_one_selected_likewise(tmp_path):
    record(tmp_path, FIXMATCH, 0, 70.0, **{"test/top1_best": 75.0})
    metrics = {e.protocol: e.metric for t in tables(tmp_path) for e in t.entries.values() if e.rule != "unstated"}
    assert metrics["daso"] == "test/top1_median20"
    assert metrics["usb"] == "test/top1_best"
    assert metrics["simpro"] == "test/top1_mean20"
    (first, *_) = tables(tmp_path, select="best")
    assert any(e.sample and e.sample.mean == 75.0 for e in first.entries.values())
    assert any(note.startswith("TEST-SELECTED") for note in first.notes)


def test_every_format_has_method_venue_rule_source_and_number(tmp_path):
    made = tables(tmp_path, SMALL._replace(recipe="acr"))
    text = markdown(made[0])
    assert re.search(
        r"\| FixMatch \+ CCL +\| NeurIPS 2024 +\| mean20 \| CCL \(NeurIPS 2024\), Table 2 \| — / 84.5 ± 0.38", text
    )
    assert r"FixMatch + CCL & NeurIPS 2024 & mean20 & CCL (NeurIPS 2024), Table 2 & --- & 84.5 $\pm$ 0.38" in latex(
        made[0]
    )
    (row,) = [r for r in csv.DictReader(as_csv(*made).splitlines()) if r["method"] == "FixMatch + CCL"]
    assert [row[key] for key in ("protocol", "venue", "rule", "published_mean", "published_std")] == [
        *("acr", "NeurIPS 2024", "mean20", "84.5", "0.38")
    ]


def test_a_table_of_many_words_goes_on_below_as_well():
    def cells(text):
        rows = [line for line in text.splitlines() if line.startswith("| ")]
        return {cell.strip() for row in rows for cell in row.split("|")}

    (made, *_) = field_tables(Where("cifar10", "500", gamma_l="100"), [], Options(), configure)
    text, whole = markdown(made, 90), markdown(made)
    assert max(map(len, text.splitlines())) <= 90 < max(map(len, whole.splitlines()))
    assert cells(text) == cells(whole)


def test_the_command_line_prints_and_writes_the_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["table=field", "dataset=cifar10", "n1=500", "gamma_l=100", "gamma_u=0.01"]) == 0
    assert "γl=100 γu=1/100 N1=500 M1=4000" in capsys.readouterr().out
    assert main(["table=field", "dataset=stl10", "format=html", "out=field.html"]) == 0
    page = (tmp_path / "field.html").read_text()
    assert page.count("<h2>") == 4  # of five protocols; the first is the page's title
    assert "79.1 ± 0.43" in page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "say, for example, dataset=cifar10"),
        (["dataset=digits"], "numbers are published on cifar10"),
        (["dataset=cifar10", "n1=3"], "cifar10 is published with n1 400, 500 and 1500"),
        (["dataset=cifar10", "gamma_u=most"], "gamma_u=most is not possible"),
        (["dataset=cifar10", "recipe=secret"], "recipe=secret is not possible"),
        (["dataset=stl10", "n1=450", "recipe=darp"], "recipe=darp is not possible"),
        (["dataset=cifar10", "n1=400", "gamma_l=150"], "n1=400 gamma_l=150 is not possible"),
        (["dataset=cifar10", "gama_l=3"], "did you mean gamma_l"),
        (["dataset=cifar10", "la=true"], "la= has no effect on table=field"),
        (["dataset=cifar10", "baseline=nobody"], "baseline=nobody is not possible"),
    ],
)
def test_a_wrong_argument_ends_in_one_sentence_and_exit_code_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["table=field", *arguments]) == 2
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1
