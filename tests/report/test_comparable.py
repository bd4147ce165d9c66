"""Which runs are the same experiment, and which are no fair neighbours of the others."""

from types import SimpleNamespace

import pytest

from daso.data.images import source
from daso.published.cells import Setting
from daso.report.__main__ import main
from daso.report.collect import collect
from daso.report.match import match
from daso.report.stats import MORE_STEPS
from daso.report.tables.render import latex, markdown
from daso.settings.compose import configuration
from tests import pictures
from tests.report.fake import C10, DASO, FIXMATCH, LA, entry, record, table, three


def test_runs_of_more_steps_than_the_table_asks_for_are_marked_and_not_ranked(tmp_path):
    three(tmp_path, FIXMATCH, (67.0, 68.0, 69.0))
    three(tmp_path, DASO, (75.0, 76.0, 77.0), steps=300_000)
    three(tmp_path, LA, (70.0, 71.0, 72.0))
    made = table(tmp_path, baseline="FixMatch")
    longer = entry(made, "FixMatch + DASO")
    assert longer.marks(3) == MORE_STEPS
    assert longer.rank == 0
    assert [entry(made, row).rank for row in ("FixMatch + LA", "FixMatch")] == [1, 2]
    assert "300000 of 250000 steps" in markdown(made)
    assert f"{MORE_STEPS} trained for more steps than are asked for: not ranked." in made.notes
    assert r"\textsuperscript{\S{}}" in latex(made)


def test_a_run_of_the_labels_alone_stands_in_the_columns_of_all_unlabeled_sets(tmp_path):
    labels = ("dataset=cifar10", "imbalance=cifar10_n1500_m3000_g100", "algorithm=supervised")
    other = ("dataset=cifar10", "imbalance=cifar10_n1500_m3000_g100_reversed", "algorithm=fixmatch")
    three(tmp_path, labels, (60.0, 61.0, 62.0))
    three(tmp_path, other, (65.0, 66.0, 67.0))
    (column,) = table(tmp_path, "mine").columns
    assert column.label == "N1=1500 gl=100 gu=1/100"
    assert table(tmp_path, "mine").own == 2
    settings = {labels: "100", (labels[0], f"{labels[1]}_reversed", labels[2]): "1/100"}
    cells = [
        SimpleNamespace(
            overrides=overrides,
            dataset="cifar10",
            learner="supervised",
            setting=Setting("1500", "3000", "100", gamma_u),
        )
        for overrides, gamma_u in settings.items()
    ]
    found = match(cells, collect([tmp_path]), (), configuration)
    assert [len(found.runs[overrides]) for overrides in settings] == [3, 3]


def test_an_unlabeled_set_that_no_run_reads_is_no_setting_of_those_of_the_labels_alone(tmp_path, capsys):
    labels = (*C10, "algorithm=supervised")
    record(tmp_path / "labels", labels, 0, 60.0)
    record(tmp_path / "both", labels, 0, 60.0)
    record(tmp_path / "both", FIXMATCH, 0, 65.0)
    asked = ["table=mine", f"runs={tmp_path / 'both'}", "gamma_u=99"]
    for more in ([], ["rows=fixmatch"]):
        assert main([*asked, *more]) == 2
        assert capsys.readouterr().err == "gamma_u=99 is not possible: no run has it; the runs have 100.\n"
    assert main(["table=mine", f"runs={tmp_path / 'both'}", "gamma_u=100", "n1=500"]) == 0
    assert main(["table=mine", f"runs={tmp_path / 'labels'}", "gamma_u=99"]) == 0


def test_runs_that_differ_in_what_nothing_reads_are_one_cell_of_their_own_table(tmp_path):
    for seed, override in enumerate(("optim.gamma=0.5", "optim.cosine_ratio=2", "seed=2")):
        record(tmp_path, (*FIXMATCH, override), seed, 67.0)
    made = table(tmp_path, "mine")
    assert (made.rows, len(made.columns)) == (["fixmatch"], 1)
    assert [made_entry.sample.n for made_entry in made.entries.values()] == [3]


@pytest.mark.parametrize(
    ("roots", "heads"),
    [
        (("a/old", "b/new"), ["new N1=14 gl=2.33", "old N1=14 gl=2.33"]),
        (("a/old", "b/old"), ["old N1=14 gl=2.33 root=a/old", "old N1=14 gl=2.33 root=b/old"]),
        (("old", "old"), ["old N1=14 gl=2.33 files_checksum=", "old N1=14 gl=2.33 files_checksum="]),  # of two places
    ],
)
def test_own_images_are_called_by_their_folder_and_by_what_tells_two_of_a_name_apart(
    tmp_path, roots, heads, monkeypatch
):
    for place, root in enumerate(roots):
        photos = pictures.photos(tmp_path / str(place) / root)
        (photos / "train/dog/0.png").rename(photos / f"train/dog/other {place}.png")
        monkeypatch.chdir(tmp_path / str(place))
        source._index.cache_clear()  # another process would have none
        files = ("dataset=folder", f"dataset.root={root}", "model=wrn10_1")
        record(tmp_path / "runs", (*files, "algorithm=supervised"), 0, 50.0)
    columns = table(tmp_path / "runs", "mine").columns
    assert [column.head[: len(head)] for column, head in zip(columns, heads, strict=True)] == heads
    assert len({*columns}) == 2


def test_a_tilde_in_a_report_s_paths_is_the_home_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    three(tmp_path / "runs", FIXMATCH, (67.0, 68.0, 69.0))
    assert main(["table=mine", "runs=~/runs", "out=~/made/table.md"]) == 0
    assert (tmp_path / "made" / "table.md").is_file()
    assert not (tmp_path / "~").exists()
