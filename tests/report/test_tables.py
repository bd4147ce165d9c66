"""Tables of recorded runs, against numbers worked out by hand."""

import pytest

from daso.data import sources
from daso.report.__main__ import main, make_table
from daso.report.collect import collect
from daso.report.tables.render import markdown
from daso.report.tables.table import Options
from tests.report.fake import C10, DASO, FIXMATCH, LA, entry, record, table, three


def test_a_cell_is_mean_and_sample_deviation_over_seeds_beside_the_published_number(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    made = table(tmp_path)
    found = entry(made, "FixMatch")
    assert (found.sample.mean, found.sample.std, found.sample.n) == (72.0, 2.0, 3)
    assert (found.published.mean, found.published.std) == (67.8, 1.13)
    assert found.difference == pytest.approx(4.2)
    assert "72.0 ± 2.00 (3) / 67.8 ± 1.13 / +4.2" in markdown(made)


def test_without_runs_every_cell_is_missing_and_the_command_succeeds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["table=1"]) == 0
    printed = capsys.readouterr().out
    assert "— / 67.8 ± 1.13 / —" in printed
    assert "96 of 96 cells have no finished run" in printed
    assert list(tmp_path.iterdir()) == []


def test_a_missing_cell_is_neither_filled_nor_ranked(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    made = table(tmp_path)
    assert entry(made, "FixMatch + DASO").sample is None
    assert entry(made, "FixMatch").rank == 0  # alone in its column
    assert made.notes[0] == "95 of 96 cells have no finished run (—)."


def test_one_seed_has_no_deviation_and_is_marked_and_not_ranked(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    three(tmp_path, LA, (71.0, 72.0, 72.0))
    record(tmp_path, DASO, 0, 90.0)
    made = table(tmp_path)
    single = entry(made, "FixMatch + DASO")
    assert (single.sample.std, single.rank) == (None, 0)
    assert "90.0 (1)† / 76.0 ± 0.37 [1] / +14.0" in markdown(made)
    assert (entry(made, "FixMatch").rank, entry(made, "FixMatch + LA").rank) == (1, 2)


def test_min_seeds_says_how_many_are_enough(tmp_path):
    record(tmp_path, FIXMATCH, 0, 70.0)
    record(tmp_path, DASO, 0, 90.0)
    assert entry(table(tmp_path, min_seeds=1), "FixMatch + DASO").rank == 1


def test_equal_means_at_the_printed_precision_share_their_rank(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 70.0, 70.06))  # 70.02
    three(tmp_path, DASO, (70.0, 70.0, 70.0))
    three(tmp_path, LA, (69.0, 69.0, 69.0))
    made = table(tmp_path)
    assert [entry(made, row).rank for row in ("FixMatch", "FixMatch + DASO", "FixMatch + LA")] == [1, 1, 2]
    text = markdown(made)
    assert "**70.0 ± 0.03**" in text
    assert "**70.0 ± 0.00**" in text
    assert "<u>69.0 ± 0.00</u>" in text


def test_a_run_of_fewer_steps_is_marked_and_never_averaged_with_longer_ones(tmp_path):
    three(tmp_path, FIXMATCH, (50.0, 50.0, 50.0), steps=1000)
    made = table(tmp_path)
    assert entry(made, "FixMatch").marks(3) == "‡"
    assert "50.0 ± 0.00 (3, 1000 of 250000 steps, median of 2)‡" in markdown(made)
    record(tmp_path, FIXMATCH, 0, 70.0)
    made = table(tmp_path)
    assert entry(made, "FixMatch").sample.values == {0: 70.0}
    assert any("3 of 1000 steps" in note for note in made.notes)


def test_steps_named_on_the_command_line_are_enough_and_noted(tmp_path):
    three(tmp_path, FIXMATCH, (50.0, 50.0, 50.0), steps=1000)
    made = table(tmp_path, overrides=("train.steps=1000",))
    assert entry(made, "FixMatch").marks(3) == ""
    assert "Own runs differ from the paper's settings by design: train.steps=1000." in made.notes


def test_a_run_of_other_settings_is_left_out_with_the_difference(tmp_path):
    three(tmp_path, (*FIXMATCH, "train.precision=bf16"), (70.0, 72.0, 74.0))
    made = table(tmp_path, "15")
    assert made.own == 0
    assert any("3 finished runs" in note and "train.precision=bf16" in note for note in made.notes)
    assert entry(table(tmp_path, "15", overrides=("train.precision=bf16",)), "FixMatch").sample.n == 3


def test_runs_on_imported_splits_are_counted_where_their_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        folder = tmp_path / "theirs" / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "labeled.txt").write_text(f"{seed}\n")
        (folder / "unlabeled.txt").write_text(f"{seed + 3}\n")
    imported = (*FIXMATCH, "dataset.splits=theirs", "dataset.num_valid=0")
    three(tmp_path / "runs", imported, (70.0, 72.0, 74.0))
    three(tmp_path / "runs", (*FIXMATCH, "dataset.num_valid=0"), (60.0, 61.0, 62.0))
    left_out = table(tmp_path / "runs")
    assert entry(left_out, "FixMatch").sample is None
    assert any("dataset.splits=theirs" in note for note in left_out.notes)
    (tmp_path / "theirs").rename(tmp_path / "gone")  # a report needs no files but the runs'
    options = Options(overrides=("dataset.splits=theirs", "dataset.num_valid=0"))
    assert entry(make_table("1", collect([tmp_path / "runs"]), options), "FixMatch").sample.mean == 72.0
    assert entry(table(tmp_path / "runs", overrides=("dataset.num_valid=0",)), "FixMatch").sample.mean == 61.0
    mine = make_table("mine", collect([tmp_path / "runs"]), Options())
    assert mine.rows == ["fixmatch"]
    place = "N1=500 gl=100 gu=100"
    assert [(c.label, entry(mine, "fixmatch", c).sample.mean) for c in mine.columns] == [
        (place, 61.0),
        (f"{place} splits=theirs", 72.0),
    ]


def test_runs_on_files_that_are_not_as_published_belong_to_no_published_cell(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sources, "files_checksum", lambda *_: "0123456789abcdef")
    three(tmp_path, (*FIXMATCH, "dataset.verify=false"), (70.0, 72.0, 74.0))
    monkeypatch.undo()
    record(tmp_path, FIXMATCH, 3, 60.0)
    made = table(tmp_path)
    assert entry(made, "FixMatch").sample.values == {3: 60.0}
    (note,) = [note for note in made.notes if "Not counted" in note]
    assert note.startswith("Not counted: 3 finished runs on files that are not as published (dataset.verify=false)")
    assert main(["table=1", f"runs={tmp_path}", "dataset.verify=false"]) == 2
    assert "dataset.verify=false is not possible: a table or figure of the paper sets data" in capsys.readouterr().err
    mine = table(tmp_path, "mine")
    labels = ["N1=500 gl=100 gu=100" + more for more in ("", " files_checksum=012345")]
    assert [column.label for column in mine.columns] == labels
    assert entry(mine, "fixmatch", mine.columns[1]).sample.mean == 72.0


def test_a_run_of_another_shape_is_no_concern_of_the_table(tmp_path):
    three(tmp_path, (*FIXMATCH, "imb.unlabeled_shape=middle"), (70.0, 72.0, 74.0))
    made = table(tmp_path)
    assert entry(made, "FixMatch").sample is None
    assert not any("no cell describes" in note for note in made.notes)
    assert [column.label for column in table(tmp_path, "mine").columns] == ["N1=500 gl=100 gu=100 middle"]


def test_a_run_of_another_method_is_no_concern_of_the_table(tmp_path):
    three(tmp_path, (*C10, "algorithm=fixmatch_da"), (70.0, 72.0, 74.0))
    assert not any("no cell describes" in note for note in table(tmp_path, "15").notes)


def test_a_table_without_an_own_number_says_which_runs_there_are(tmp_path):
    record(tmp_path, ("experiment=quickstart",), 0, 70.0)
    note = "Not counted: 1 finished run of other settings or methods (digits N1=20 gl=10 gu=1): table=mine shows them."
    assert note in table(tmp_path).notes
    record(tmp_path, FIXMATCH, 0, 70.0)
    assert note not in table(tmp_path).notes


def test_a_difference_that_vanishes_in_print_has_no_minus_sign(tmp_path):
    three(tmp_path, FIXMATCH, (67.76, 67.76, 67.76))
    assert "67.8 ± 0.00 (3) / 67.8 ± 1.13 / +0.0" in markdown(table(tmp_path))


def test_an_unfinished_run_is_named_and_not_counted(tmp_path):
    folder = record(tmp_path, FIXMATCH, 0)
    made = table(tmp_path)
    assert made.own == 0
    assert any("Unfinished and not counted" in note and folder.name in note for note in made.notes)


def test_the_same_run_in_two_folders_counts_once(tmp_path):
    for name in ("one", "two"):
        record(tmp_path / name, FIXMATCH, 0, 70.0)
    assert len(collect([tmp_path / "one", tmp_path / "two"])) == 1


def test_the_finished_copy_of_a_run_is_the_one_that_counts(tmp_path):
    record(tmp_path / "one", FIXMATCH, 0)
    record(tmp_path / "two", FIXMATCH, 0, 70.0)
    assert [run.done for run in collect([tmp_path / "one", tmp_path / "two"])] == [True]


def test_a_row_after_la_reads_the_other_row_s_runs(tmp_path):
    place = ("CIFAR10-LT", "γ=100 N1=1500 M1=3000")
    big = ("dataset=cifar10", "imbalance=cifar10_n1500_m3000_g100", "algorithm=fixmatch")
    three(tmp_path, big, (77.0, 77.0, 77.0), **{"test/top1_la_median20": 82.0})
    made = table(tmp_path, "14")
    assert entry(made, "FixMatch", place).sample.mean == 77.0
    assert entry(made, "FixMatch + LA (inf)", place).sample.mean == 82.0
    assert entry(made, "FixMatch + LA (inf)", place).difference == pytest.approx(82.0 - 82.8)


def test_after_la_published_numbers_before_it_are_not_subtracted(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0), **{"test/top1_la_median20": 80.0})
    found = entry(table(tmp_path, la=True), "FixMatch")
    assert (found.sample.mean, found.difference) == (80.0, None)


def test_the_best_on_test_is_marked_as_selected_on_test(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0), **{"test/top1_best": 81.0})
    made = table(tmp_path, select="best")
    assert entry(made, "FixMatch").sample.mean == 81.0
    assert any(note.startswith("TEST-SELECTED") for note in made.notes)


def test_reports_say_in_words_what_their_numbers_are(tmp_path, capsys):
    record(tmp_path, FIXMATCH, 0, 70.0, **{"test/bacc_mean20": 60.0})
    assert main(["table=1", f"runs={tmp_path}", "metric=bacc", "select=mean20"]) == 0
    shown = capsys.readouterr().out
    assert "- Own numbers: mean of the last 20 evaluations; published ones: medians of the last 20 eval" in shown
    assert "- Own numbers: balanced test accuracy; published ones: test accuracy." in shown
    assert main([f"html={tmp_path / 'page.html'}", f"runs={tmp_path}"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "1 of 1 run finished; own numbers: test accuracy, median of the last 20 evaluations." in page
