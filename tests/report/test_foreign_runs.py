"""A run that this version does not know - of a newer one, or a colleague's branch - ends no report."""

import json

import pytest
import yaml

from daso import runs as listing
from daso.report.collect import collect
from daso.report.figures.canvas import Form
from daso.report.figures.figure import draw
from daso.report.page import page
from daso.report.tables.table import Options
from daso.settings.compose import configuration
from daso.sweep.plan import Job, speeds, survey
from tests.report.fake import FIXMATCH, entry, journal, record, table, three

NODES = ("imb", "train", "optim", "dataset", "daso", "algorithm", "protocol")
FOREIGN = {
    "a learner": ({"algorithm": {"name": "mymatch", "sharpness": 2.0}}, "algorithm=mymatch"),
    "a slot": ({"daso": {"name": "dasso"}}, "daso=dasso"),
    "a protocol": ({"protocol": {"name": "rounds"}}, "protocol=rounds"),
    "a knob": ({"imb": {"drift": 0.5}}, "imb.drift"),
    "a node": ({"teacher": {"name": "big"}}, "teacher.name"),
    "an enum's value": ({"optim": {"schedule": "spiral"}}, "spiral"),
    "less": ({"train": None}, "another form"),
    **{f"{node} as a text": ({node: "x"}, "another form") for node in NODES},
}


def foreign(root, change, seed=9, key="0123456789ab"):
    """A finished run whose settings `change` turns into ones of another version."""
    folder = record(root, FIXMATCH, seed, 99.0)
    config = yaml.safe_load((folder / "resolved.yaml").read_text())
    for node, values in change.items():
        whole = isinstance(values, dict) and isinstance(config.get(node), dict)
        config[node] = config[node] | values if whole else values
    return renamed(folder, config, key)


def renamed(folder, config, key="0123456789ab"):
    """The folder with other settings, under another key."""
    (folder / "resolved.yaml").write_text(yaml.safe_dump(config | {"run_key": key}, sort_keys=False))
    (folder / "run.json").write_text(json.dumps({"device": "cpu"}))
    return folder.rename(folder.with_name(key))


@pytest.fixture
def root(tmp_path):
    """Three runs that this version knows."""
    three(tmp_path, FIXMATCH, (67.0, 68.0, 69.0))
    return tmp_path


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_run_is_counted_named_and_passed_over_in_tables(root, kind):
    change, said = FOREIGN[kind]
    foreign(root, change)
    note = "Passed over: 1 run that this version does not know, 0123456789ab ("
    for name in ("1", "mine"):
        made = table(root, name)
        assert sum(text.startswith(note) and said in text for text in made.notes) == 1, made.notes
        assert [e.sample.n for e in made.entries.values() if e.sample] == [3]


def test_foreign_runs_are_counted_named_and_passed_over_in_pages_and_pictures(root, capsys):
    keys = [f"{number:012x}" for number, _ in enumerate(FOREIGN)]
    for key, (change, _) in zip(keys, FOREIGN.values()):
        foreign(root, change, key=key)
    for folder in (path for path in root.iterdir()):
        classes = {f"test/class/{k}": 50.0 for k in range(10)}
        journal(folder, [(500, classes | {"test/top1": 50.0})])
    html = page(collect([root]), Options(), configuration)
    assert all(html.count(key) >= 2 for key in keys[:5])  # "and others"
    draw("3", collect([root]), Options(), configuration, Form(root / "pictures"), own=True)
    assert f"Passed over: {len(keys)} runs that this version does not know, " in capsys.readouterr().out


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_run_is_in_the_list_of_runs_and_tells_a_plan_nothing_wrong(root, kind, capsys):
    foreign(root, FOREIGN[kind][0])
    assert listing.main(["--root", str(root)]) == 0
    assert listing.main(["show", "--root", str(root), "0123456789ab"]) == 0
    assert capsys.readouterr().out.count("0123456789ab") >= 2
    config = configuration((*FIXMATCH, f"out_root={root}", "seed=5"))
    assert list(speeds(survey([Job(["a=b"], config)])).values()) == [[]]


def test_a_newer_run_with_a_knob_that_its_key_says_has_no_effect_is_known(tmp_path):
    folder = record(tmp_path, FIXMATCH, 0, 67.0)
    config = {"looks": "blue"} | yaml.safe_load((folder / "resolved.yaml").read_text())
    (folder / "resolved.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (run,) = collect([tmp_path])
    assert run.foreign == ""
    assert entry(table(tmp_path), "FixMatch").sample.n == 1


def test_a_run_under_an_older_key_that_differs_in_what_nothing_reads_fills_its_cell(tmp_path):
    folder = record(tmp_path, FIXMATCH, 0, 67.0)
    renamed(folder, yaml.safe_load((folder / "resolved.yaml").read_text()))
    (run,) = collect([tmp_path])
    assert run.foreign == ""
    assert run.identity != run.key
    assert entry(table(tmp_path), "FixMatch").sample.n == 1
