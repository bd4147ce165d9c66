"""Tables of recorded runs, against numbers worked out by hand."""

import math
import shutil

import pytest
import torch

from daso.data import sources
from daso.report.__main__ import main, make_table
from daso.report.collect import collect
from daso.report.render import markdown
from daso.report.stats import spans
from daso.report.table import Options
from daso.train.alarms import collapse
from tests import pictures
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
    place = "N1=500 gl=100 gu=100 splits="
    assert [(c.label, entry(mine, "fixmatch", c).sample.mean) for c in mine.columns] == [
        (place, 61.0),
        (f"{place}theirs", 72.0),
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
    labels = [f"N1=500 gl=100 gu=100 files_checksum={sum}" for sum in ("", "0123456789abcdef")]
    assert [column.label for column in mine.columns] == labels
    assert entry(mine, "fixmatch", mine.columns[1]).sample.mean == 72.0


def test_a_run_of_another_shape_is_no_concern_of_the_table(tmp_path):
    three(tmp_path, (*FIXMATCH, "imb.unlabeled_shape=middle"), (70.0, 72.0, 74.0))
    made = table(tmp_path)
    assert entry(made, "FixMatch").sample is None
    assert not any("Not counted" in note for note in made.notes)
    assert [column.label for column in table(tmp_path, "mine").columns] == ["N1=500 gl=100 gu=100 middle"]


def test_a_run_of_another_method_is_no_concern_of_the_table(tmp_path):
    three(tmp_path, (*C10, "algorithm=fixmatch_da"), (70.0, 72.0, 74.0))
    assert not any("Not counted" in note for note in table(tmp_path, "15").notes)


def test_a_difference_that_vanishes_in_print_has_no_minus_sign(tmp_path):
    three(tmp_path, FIXMATCH, (67.76, 67.76, 67.76))
    assert "67.8 ± 0.00 (3) / 67.8 ± 1.13 / +0.0" in markdown(table(tmp_path))


def test_an_unfinished_run_is_named_and_not_counted(tmp_path):
    folder = record(tmp_path, FIXMATCH, 0)
    made = table(tmp_path)
    assert made.own == 0
    assert any("Unfinished and not counted" in note and folder.name in note for note in made.notes)


def test_a_seed_at_chance_is_warned_about_and_marks_its_cell(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0))
    record(tmp_path, FIXMATCH, 2, 10.0)
    made = table(tmp_path)
    assert entry(made, "FixMatch").marks(3) == "!"
    (text,) = made.warnings
    assert "FixMatch on CIFAR10-LT γ=100 N1=500 M1=4000: seed 2 ended at chance (10.0 %" in text
    (text,) = table(tmp_path, "mine", names="paper").warnings
    assert text.startswith("FixMatch on cifar10 N1=500 γl=100 γu=100: seed 2 ended at chance")


def test_a_seed_far_below_the_others_is_warned_about(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 58.0))
    assert "seed 2 is 12.0 points below the median of its cell" in table(tmp_path).warnings[0]


def test_a_seed_that_recognises_nothing_of_a_fifth_of_the_classes_is_warned_about(tmp_path):
    silent = {f"test/class/{k}": 0.0 if k > 7 else 90.0 for k in range(10)}
    record(tmp_path, FIXMATCH, 0, 70.0, **silent)
    record(tmp_path, FIXMATCH, 1, 70.0, **(silent | {"test/class/8": 1.0}))
    (text,) = table(tmp_path).warnings
    assert text.endswith("seed 0 recognises no image of 2 of 10 classes.")


def test_a_seed_that_warned_of_a_class_and_still_misses_it_is_warned_about(tmp_path):
    confusion = torch.full((10, 10), 5.0)
    confusion[:, 9] = 0  # class 9 is never predicted
    said = [f"Step 900: {text}" for text in collapse(70.0, confusion, progress=0.9)]
    silent = {f"test/class/{k}": 0.0 if k == 9 else 90.0 for k in range(10)}
    record(tmp_path, FIXMATCH, 0, 70.0, **silent, warnings=said)
    record(tmp_path, FIXMATCH, 1, 70.0, **silent)  # which no run's own warning is about
    record(tmp_path, FIXMATCH, 2, 70.0, **(silent | {"test/class/9": 1.0}), warnings=said)  # recovered
    made = table(tmp_path)
    (text,) = made.warnings
    assert text.endswith(": seed 0 recognises no image of 1 of 10 classes.")
    assert entry(made, "FixMatch").marks(3) == "!"


def test_all_collapsed_seeds_of_a_cell_are_one_line(tmp_path):
    hundred = ("dataset=cifar100", "imbalance=cifar100_n150_m300_g10", "algorithm=fixmatch")
    silent = {f"test/class/{k}": 0.0 if k > 60 else 90.0 for k in range(100)}
    three(tmp_path, hundred, (55.0, 55.0, 55.0), **silent, warnings=["Step 900: never predicts 39 classes."])
    (text,) = table(tmp_path).warnings
    assert [text.count(f"seed {seed} recognises no image of 39 of 100 classes") for seed in range(3)] == [1, 1, 1]


def test_seeds_that_were_made_differently_are_averaged_with_a_warning(tmp_path):
    alike = {"precision": "fp32", "compile": "none"}
    record(tmp_path, FIXMATCH, 0, 70.0, device="cpu", code="aaa", **alike)
    record(tmp_path, FIXMATCH, 1, 72.0, device="cuda", code="bbb", **alike)
    record(tmp_path, FIXMATCH, 2, 74.0, device="cpu", code="aaa", **alike)
    three(tmp_path, DASO, (75.0, 77.0, 76.0), device="cuda", code="bbb", **alike)
    made = table(tmp_path)
    assert made.warnings == [
        "FixMatch on CIFAR10-LT γ=100 N1=500 M1=4000: the average mixes "
        "device cpu (seeds 0, 2) and cuda (seed 1); code aaa (seeds 0, 2) and bbb (seed 1)."
    ]
    assert entry(made, "FixMatch").sample.mean == 72.0
    assert len(table(tmp_path, "mine").warnings) == 1


def test_the_same_run_in_two_folders_counts_once(tmp_path):
    for name in ("one", "two"):
        record(tmp_path / name, FIXMATCH, 0, 70.0)
    assert len(collect([tmp_path / "one", tmp_path / "two"])) == 1


def test_the_finished_copy_of_a_run_is_the_one_that_counts(tmp_path):
    record(tmp_path / "one", FIXMATCH, 0)
    record(tmp_path / "two", FIXMATCH, 0, 70.0)
    assert [run.done for run in collect([tmp_path / "one", tmp_path / "two"])] == [True]


def test_significance_is_a_paired_t_test_over_common_seeds(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0, 99.0))
    three(tmp_path, DASO, (75.0, 77.0, 76.0))  # differences 5, 5, 2: t = 4 with 2 degrees of freedom
    made = table(tmp_path, baseline="fixmatch")
    assert entry(made, "FixMatch + DASO").p == pytest.approx(1 - 4 / math.sqrt(4**2 + 2))
    assert entry(made, "FixMatch + DASO").marks(3) == ""
    assert entry(made, "FixMatch").p is None


def test_a_significant_difference_is_starred(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    three(tmp_path, DASO, (75.0, 77.1, 79.0))
    assert entry(table(tmp_path, baseline="FixMatch"), "FixMatch + DASO").marks(3) == "*"


def test_p_of_fewer_pairs_than_seeds_says_how_many_and_too_few_are_never_starred(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0))
    three(tmp_path, DASO, (75.0, 77.001, 79.0))  # differences 5 and 5.001: t = 10001 with 1 degree of freedom
    made = table(tmp_path, baseline="fixmatch")
    found = entry(made, "FixMatch + DASO")
    assert found.p == pytest.approx(2 / math.pi * math.atan(1 / 10001), rel=1e-6)  # two tails of a Cauchy distribution
    assert (found.pairs, found.marks(3)) == (2, "")
    assert "(3, p<0.001 of 2 pairs) /" in markdown(made)
    assert entry(table(tmp_path, baseline="fixmatch", min_seeds=2), "FixMatch + DASO").marks(2) == "*"


def test_one_common_seed_or_constant_differences_give_no_p(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    three(tmp_path, DASO, (75.0, 77.0, 79.0))
    record(tmp_path, LA, 0, 75.0)
    made = table(tmp_path, baseline="fixmatch")
    assert entry(made, "FixMatch + DASO").p is None
    assert entry(made, "FixMatch + LA").p is None


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


def test_own_runs_are_grouped_by_method_and_setting(tmp_path):
    uniform = ("dataset=cifar10", "imbalance=cifar10_n500_m4000_g100_uniform")
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    three(tmp_path, DASO, (75.0, 77.0, 76.0))
    three(tmp_path, (*uniform, "algorithm=fixmatch_daso"), (80.0, 81.0, 82.0))  # T_dist follows the setting
    made = table(tmp_path, "mine")
    assert made.rows == ["fixmatch", "fixmatch_daso"]
    assert [c.label for c in made.columns] == ["N1=500 gl=100 gu=100", "N1=500 gl=100 gu=1"]
    assert entry(made, "fixmatch_daso", ("cifar10", "N1=500 gl=100 gu=1")).sample.mean == 81.0
    assert entry(made, "fixmatch", ("cifar10", "N1=500 gl=100 gu=1")).sample is None


def test_a_table_without_published_numbers_says_which_of_a_run_s_evaluations_it_shows(tmp_path, capsys):
    others = {"test/bacc_mean20": 60.0, "test/top1_la_best": 80.0}
    record(tmp_path, FIXMATCH, 0, 70.0, **others)
    says = {
        (): "test accuracy, median of the last 20 evaluations",
        ("columns=own", "select=last"): "test accuracy, last evaluation",
        ("metric=bacc", "select=mean20"): "balanced test accuracy, mean of the last 20 evaluations",
        ("la=true", "select=best"): "test accuracy after logit adjustment, best evaluation, selected on the set itself",
    }
    for options, words in says.items():
        assert main(["table=mine", f"runs={tmp_path}", *options]) == 0
        shown = capsys.readouterr().out
        assert f"- Own numbers: {words}; mean ±" in shown
        assert "published" not in shown


def test_a_median_of_fewer_than_20_evaluations_is_called_one(tmp_path):
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0), steps=2000)  # an evaluation each 500 steps
    alike = markdown(table(tmp_path, "mine"))
    assert "72.0 ± 2.00 (3) " in alike
    assert "- Own numbers: test accuracy, median of all 4 evaluations (there are no 20); mean ±" in alike
    record(tmp_path, DASO, 0, 90.0)
    mixed = markdown(table(tmp_path, "mine"))
    assert "72.0 ± 2.00 (3, median of 4)" in mixed
    assert "90.0 (1)†" in mixed
    assert "- Own numbers: test accuracy, median of the last 20 evaluations, or of all where there are fewer" in mixed
    assert "- In brackets, median of 4: of all evaluations of a run, there are no 20." in mixed
    assert "(3)" in markdown(table(tmp_path, "mine", select="last"))


def test_reports_say_in_words_what_their_numbers_are(tmp_path, capsys):
    record(tmp_path, FIXMATCH, 0, 70.0, **{"test/bacc_mean20": 60.0})
    assert main(["table=1", f"runs={tmp_path}", "metric=bacc", "select=mean20"]) == 0
    shown = capsys.readouterr().out
    assert "- Own numbers: mean of the last 20 evaluations; published ones: medians of the last 20 eval" in shown
    assert "- Own numbers: balanced test accuracy; published ones: test accuracy." in shown
    assert main([f"html={tmp_path / 'page.html'}", f"runs={tmp_path}"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "1 of 1 run finished; own numbers: test accuracy, median of the last 20 evaluations." in page


def test_own_runs_that_differ_in_a_knob_are_rows_of_their_own(tmp_path):
    three(tmp_path, DASO, (75.0, 77.0, 76.0))
    three(tmp_path, (*DASO, "daso.queue_size=64"), (60.0, 61.0, 62.0))
    assert table(tmp_path, "mine").rows == ["fixmatch_daso, daso.queue_size=256", "fixmatch_daso, daso.queue_size=64"]


def test_own_runs_of_other_data_network_or_training_stand_in_columns_of_their_own(tmp_path):
    small = (*DASO, "imb.m1=1000", "model=wrn10_1", "train.batch_size=8")
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    three(tmp_path, small, (80.0, 82.1, 84.0))  # against FixMatch p = 0.00001, if it were of the same setting
    made = table(tmp_path, "mine", baseline="fixmatch")
    labels = [f"N1=500 gl=100 gu=100 batch_size={b} M1={m} depth={d} width={w}" for b, m, d, w in
              ((8, 1000, 10, 1), (64, 4000, 28, 2))]  # fmt: skip
    assert [sorted(c.label.split()) for c in made.columns] == [sorted(label.split()) for label in labels]
    little, usual = made.columns
    assert made.rows == ["fixmatch", "fixmatch_daso"]
    assert entry(made, "fixmatch", little).sample is None
    found = entry(made, "fixmatch_daso", little)
    assert (found.sample.n, found.rank, found.p) == (3, 0, None)
    assert entry(made, "fixmatch", usual).rank == 0


def test_the_schedule_that_comes_with_a_learner_is_no_setting_of_its_own(tmp_path):
    supervised = (*C10, "algorithm=supervised")  # whose rate is 0.1 with milestones, FixMatch's 0.03 and constant
    three(tmp_path, supervised, (50.0, 51.0, 52.0))
    three(tmp_path, FIXMATCH, (70.0, 72.0, 74.0))
    (column,) = table(tmp_path, "mine").columns
    assert column.label == "N1=500 gl=100 gu=100"
    three(tmp_path, (*FIXMATCH, "optim.lr=0.05"), (60.0, 61.0, 62.0))
    made = table(tmp_path, "mine")
    means = {c.label: {row: e.sample and e.sample.mean for row in made.rows for e in [entry(made, row, c)]}
             for c in made.columns}  # fmt: skip
    assert means == {
        "N1=500 gl=100 gu=100 lr=0.05": {"supervised": None, "fixmatch": 61.0},
        "N1=500 gl=100 gu=100 lr by method": {"supervised": 51.0, "fixmatch": 72.0},
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Say one of table=1"),
        (["table=9"], "table=9 is not possible"),
        (["table=1", "figure=2"], "Say one of"),
        (["--table", "1"], "--table is not possible: write table=1."),
        (["table"], "has the form key=value"),
        (["table=1", "selekt=last"], "did you mean select"),
        (["table=1", "select=first"], "one of median20, mean20, last, best"),
        (["table=1", "format=word"], "one of markdown, latex, csv, html"),
        (["table=1", "min_seeds=two"], "a whole number"),
        (["table=1", "la=maybe"], "true or false"),
        (["table=1", "runs=nowhere"], "runs=nowhere is not possible"),
        (["table=1", "baseline=supervized"], "this table has supervised"),
        (["table=1", "imb.n1=10"], "a table or figure of the paper sets data"),
        (["table=1", "train.stepz=9"], "did you mean train.steps"),
        (["table=1", "daso=nope"], "Options are blend_only, none, paper"),
        (["figure=2", "train.steps=many"], "train.steps=many is not possible"),
        (["table=mine", "train.steps=9"], "train.steps=9 has no effect here"),
        (["figure=1"], "figure=1 is not possible"),
        (["figure=2", "select=last"], "select= has no effect on figure=: it is for table, html=."),
        (["table=1", "own=true"], "own= has no effect on table=: it is for figure=."),
        (["html=report.html", "format=latex"], "format= has no effect on html=: it is for table, figure=."),
    ],
)
def test_a_wrong_argument_ends_in_one_sentence_and_exit_code_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("seeds", "words"), [([3], "seed 3"), ([1, 0, 2], "seeds 0-2"), ([0, 2], "seeds 0, 2"), ([4, 0, 3], "seeds 0, 3-4")]
)
def test_seeds_in_words(seeds, words):
    assert spans(seeds) == words


def test_runs_on_a_person_s_own_images_are_told_apart_without_them(tmp_path):
    photos = pictures.photos(tmp_path / "photos")
    files = ("dataset=folder", f"dataset.root={photos}", "dataset.name=flowers", "model=wrn10_1")
    for learner in ("supervised", "fixmatch"):
        for side in (12, 16):
            record(tmp_path / "runs", (*files, f"algorithm={learner}", f"dataset.resolution={side}"), 0, 50.0 + side)
    shutil.rmtree(photos)
    made = table(tmp_path / "runs", "mine")
    assert sorted({row for row, _ in made.entries}) == ["fixmatch", "supervised"]
    assert len(made.columns) == 2
    assert all(word in str(made.columns) for word in ("resolution=12", "resolution=16"))
