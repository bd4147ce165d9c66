"""Tables of any runs: what makes rows and columns of them."""

import json
import shutil

from daso.report.__main__ import main
from daso.report.page import table_page
from daso.report.tables.render import latex, markdown
from daso.report.where import Where
from tests import pictures
from tests.report.fake import C10, DASO, FIXMATCH, entry, record, table, three
from tests.report.fake import made as made_of


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


def test_a_method_without_a_run_on_a_data_set_is_no_row_of_its_piece(tmp_path):
    for gamma in (10, 20, 50, 100):
        three(tmp_path, (*FIXMATCH, f"imb.gamma_l={gamma}"), (70.0, 72.0, 74.0))
    three(tmp_path, ("dataset=digits", "algorithm=fixmatch_daso"), (90.0, 91.0, 92.0))
    made = table(tmp_path, "mine")
    assert [made.rows_of(columns) for _, columns in made.pieces] == [["fixmatch"], ["fixmatch_daso"]]
    assert not any("no finished run" in note for note in made.notes)
    for text in (markdown(made), latex(made).replace("\\_", "_"), table_page(made)):
        assert text.count("fixmatch_daso") == 1


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


def test_own_runs_that_differ_in_a_knob_are_rows_of_their_own(tmp_path):
    three(tmp_path, DASO, (75.0, 77.0, 76.0))
    three(tmp_path, (*DASO, "daso.queue_size=64"), (60.0, 61.0, 62.0))
    assert table(tmp_path, "mine").rows == ["fixmatch_daso, daso.queue_size=64", "fixmatch_daso, daso.queue_size=256"]


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


def test_columns_stand_in_the_order_of_their_values_and_say_nothing_of_what_was_left_as_it_was(tmp_path):
    for knobs in (("optim.lr=0.1",), ("optim.lr=1.23456789e-3",), ("optim.lr=3e-5",), ("train.epochs=2",)):
        long = () if "train.epochs=2" in knobs else ("train.steps=1000",)
        record(tmp_path, (*FIXMATCH, *long, *knobs), 0, 70.0)
    made = table(tmp_path, "mine", names="paper")
    labels = [column.label.removeprefix("N1=500 gl=100 gu=100 ") for column in made.columns]
    assert labels == ["lr=3e-5", "lr=0.001235", "lr=0.03 epochs=2.0", "lr=0.1"]
    assert "Where a head of cifar10 says nothing else: steps=1000." in made.notes  # as most have it


def test_a_head_says_itself_what_some_head_of_its_table_cannot_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("theirs/labeled.txt", "theirs/unlabeled.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{len(name)}\n")
    imported = ("dataset.splits=theirs", "dataset.num_valid=0")
    for knobs in ((), imported, (*imported, "optim.lr=0.1"), (*imported, "optim.lr=0.2")):
        record(tmp_path / "runs", (*FIXMATCH, "dataset.num_valid=0", *knobs), 0, 70.0)
    labels = [column.label.removeprefix("N1=500 gl=100 gu=100 ") for column in table(tmp_path / "runs", "mine").columns]
    assert labels == ["lr=0.03", "splits=theirs lr=0.03", "splits=theirs lr=0.1", "splits=theirs lr=0.2"]


def test_values_that_four_digits_do_not_tell_apart_are_written_out(tmp_path):
    for lr in (0.0500001, 0.0500002):
        record(tmp_path, (*FIXMATCH, f"optim.lr={lr}"), 0, 70.0)
    assert [c.label.rpartition(" ")[2] for c in table(tmp_path, "mine").columns] == ["lr=0.0500001", "lr=0.0500002"]


def test_a_run_of_labels_alone_makes_no_column_where_it_stands_beside_others_elsewhere(tmp_path):
    uniform = ("dataset=cifar10", "imbalance=cifar10_n500_m4000_g100_uniform")
    slow = "optim.lr=0.01"
    for overrides in (
        (*FIXMATCH, slow),
        FIXMATCH,
        (*uniform, "algorithm=fixmatch"),
        (*C10, "algorithm=supervised", slow),
    ):
        record(tmp_path, overrides, 0, 70.0)
    assert [column.label.partition("gu=")[2] for column in table(tmp_path, "mine").columns] == [
        "100 lr=0.01",
        "100 lr=0.03",
        "1 lr=0.03",
    ]
    record(tmp_path, (*C10, "algorithm=supervised", "optim.lr=0.2"), 0, 70.0)  # beside nobody: once
    assert [column.label.partition("gu=")[2] for column in table(tmp_path, "mine").columns][-2:] == [
        "100 lr=0.2",
        "1 lr=0.03",
    ]
    (alone,) = made_of(tmp_path, "mine", Where(gamma_u="1"))  # the one at 0.01 stands beside others elsewhere, as above
    assert [column.label.partition("gu=")[2] for column in alone.columns] == ["1 lr=0.03", "1 lr=0.2"]


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


def test_a_knob_that_a_learner_does_not_read_puts_it_into_no_column_of_its_own(tmp_path):
    for more in (("dataset.cutout=8",), (), ("optim.lr=0.2",)):
        record(tmp_path, (*FIXMATCH, *more), 0, 70.0)
    record(tmp_path, (*C10, "algorithm=supervised"), 0, 60.0)  # without strong views, and with a rate of its own
    made = table(tmp_path, "mine")
    assert [column.label.removeprefix("N1=500 gl=100 gu=100 ") for column in made.columns] == [
        "cutout=8 lr=0.03",
        "cutout=16 lr by method",
        "cutout=16 lr=0.2",
    ]
    assert entry(made, "supervised", made.columns[1]).sample.mean == 60.0


def test_what_a_head_tells_of_one_column_is_told_of_every_column_of_the_data_set(tmp_path):
    for overrides in (FIXMATCH, (*FIXMATCH, "imb.gamma_l=10", "train.steps=1000", "train.eval_every=500")):
        record(tmp_path, overrides, 0, 70.0)
    record(tmp_path, ("dataset=digits", "algorithm=fixmatch"), 0, 90.0)
    assert [column.head for column in table(tmp_path, "mine").columns] == [
        "cifar10 N1=500 gl=10 gu=10 steps=1000",
        "cifar10 N1=500 gl=100 gu=100 steps=250000",
        "digits N1=20 gl=10 gu=10",
    ]


def test_a_knob_of_the_method_that_varies_on_one_data_set_renames_no_row_of_another(tmp_path):
    record(tmp_path, DASO, 0, 70.0)
    for t_dist in (0.3, 0.5):
        record(tmp_path, ("dataset=digits", "algorithm=fixmatch_daso", f"daso.t_dist={t_dist}"), 0, 90.0)
    made = table(tmp_path, "mine")
    assert made.rows == ["fixmatch_daso", "fixmatch_daso, daso.t_dist=0.3", "fixmatch_daso, daso.t_dist=0.5"]
    told = {row: [c.group for c in made.columns if made.entries[row, c].told] for row in made.rows}
    assert told == dict(zip(made.rows, (["cifar10"], ["digits"], ["digits"]), strict=True))


def test_heads_of_own_images_have_their_given_name_and_only_what_a_person_sets(tmp_path):
    files = ("dataset=folder", f"dataset.root={pictures.photos(tmp_path / 'photos')}", "algorithm=fixmatch")
    for more in (
        ("dataset.resolution=16",),
        ("dataset.resolution=24",),
        ("dataset.resolution=24", "dataset.cutout=5"),
        ("dataset.resolution=64", "dataset.crop=resized"),
        ("dataset.resolution=16", "dataset.name=My Cats"),
    ):
        record(tmp_path / "runs", (*files, "model=wrn10_1", *more), 0, 50.0)
    made = table(tmp_path / "runs", "mine")
    assert [column.head.replace(" N1=14 gl=2.33", "") for column in made.columns] == [
        "My Cats",
        "photos resolution=16",
        "photos resolution=24",
        "photos resolution=24 cutout=5",
        "photos crop=resized resolution=64",
    ]
    assert "Where a head of photos says nothing else: crop=auto." in made.notes


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


def test_trials_of_a_search_are_no_rows_of_own_runs_until_their_keys_are_named(tmp_path, capsys):
    three(tmp_path, DASO, (75.0, 77.0, 76.0))
    folder = record(tmp_path, (*DASO, "daso.t_dist=0.71"), 0, 70.0)
    (folder / "run.json").write_text(json.dumps({"tags": {"run_key": folder.name, "sweep_name": "study mine"}}))
    assert main(["table=mine", f"runs={tmp_path}"]) == 0
    said = capsys.readouterr()
    assert "t_dist" not in said.out
    assert said.err == "Left out: 1 trial of the study mine, which have a table of their own; keys= shows them here.\n"
    assert main(["table=mine", f"runs={tmp_path}", f"keys={folder.name}"]) == 0
    assert "70" in capsys.readouterr().out
