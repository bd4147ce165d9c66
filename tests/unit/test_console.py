"""What a person reads: plain lines in a file, one live line on a terminal, a table at the end."""

import io
import subprocess
import sys

import pytest

from daso.track.console import Console, duration, sizes

FACTS = {
    "name": "digits fixmatch N1=20 gl=10 gu=1 s0",
    "run_key": "0a1b2c3d4e5f",
    "labeled": [20, 5, 2],
    "unlabeled": [100, 100, 100],
    "unlabeled_known": 300,
    "held_out": {"test": 500},
    "parameters": 77850,
    "steps": 1000,
    "start": 0,
    "device": "cpu",
    "precision": "fp32",
}
SUMMARY = {
    "run_key": "0a1b2c3d4e5f",
    "steps": 1000,
    "seconds": 78.2,
    "warnings": ["The network is never right about class 2 of the test set."],
    "test/top1": 61.25,
    "test/top1_median20": 60.5,
    "test/gm": None,
    "test/class/0": 98.0,
    "test/class/1": 42.4,
    "test/class/2": None,
    "pl/final/recall": 0.9,
    "pl/final/precision": 0.8,
    "pl/final/coverage": 0.7,
}


@pytest.fixture
def out():
    return io.StringIO()


def lines(out):
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_header_says_what_is_trained_on_what(out):
    Console(out, width=100).header(FACTS)
    text = out.getvalue()
    for part in (FACTS["name"], FACTS["run_key"], "27 = 20 + 5 + 2", "test 500", "77,850", "1,000", "device cpu"):
        assert part in text


def test_a_term_that_joins_the_loss_is_said_once(out):
    console = Console(out, width=100)
    for step in (50, 100, 150):
        align = {"train/loss_align": 1.6} if step > 50 else {}
        console.row("train", step, {"train/loss_cls": 0.4, "train/loss_total": 2.0} | align)
    assert lines(out) == ["By step 100 align has joined the loss, which is larger for it."]


def test_the_header_of_a_resumed_run_says_where_it_goes_on(out):
    Console(out, width=100).header(FACTS | {"start": 250})
    assert "going on from 250" in out.getvalue()


def test_without_a_terminal_each_evaluation_is_one_plain_line(out):
    console = Console(out, width=60)
    with console.progress(0, 1000):
        for step in range(1, 1001):
            console.advance(step)
            if step % 100 == 0:
                console.row(
                    "train", step, {"train/loss_total": 1.5, "train/loss_cls": 0.5, "time/steps_per_second": 12.5}
                )
            if step % 500 == 0:
                console.row("eval", step, {"test/top1": 61.25, "test/bacc": 60.0})
    assert [line.split("  ")[0] for line in lines(out)] == ["step 500/1000", "step 1000/1000"]
    assert lines(out)[0].endswith("12.5/s  loss 1.500  test top1 61.2 bacc 60.0")
    assert "\x1b" not in out.getvalue()


def test_without_a_terminal_no_line_is_broken_and_none_ends_in_blanks(out):
    console = Console(out)
    console.header(FACTS | {"torch": "2.8.0" * 40})
    console.summary(SUMMARY)
    console.warn("word " * 60)
    assert any(line.startswith("on ") and "2.8.0" * 40 in line for line in out.getvalue().splitlines())
    assert any(line.count("word") == 60 for line in out.getvalue().splitlines())
    assert [line for line in lines(out) if line.startswith("labeled")] == ["labeled    27 = 20 + 5 + 2"]
    assert not any(line != line.rstrip() for line in out.getvalue().splitlines() if "word" not in line)


def test_a_log_has_all_lines_and_every_evaluation_without_colours(out):
    kept = io.StringIO()
    console = Console(out, width=120, live=True)
    with console.kept_in(kept):
        console.header(FACTS)
        with console.progress(0, 10):
            console.row("eval", 5, {"test/top1": 61.25, "test/bacc": 60.0})
            console.warn("Step 5: something.")
        console.remember("for the log alone")
    console.note("after it")
    log = kept.getvalue()
    assert "step 5/10" in log
    assert "Warning: Step 5: something." in log
    assert "27 = 20 + 5 + 2" in log
    assert "\x1b" not in log
    assert "after it" not in log
    assert "for the log alone" in log
    assert "for the log alone" not in out.getvalue()


def test_what_a_sweep_has_said_is_for_the_log_alone(out):
    log, console = io.StringIO(), Console(out, width=100)
    with console.kept_in(log):
        console.warn("DASO never blends in this run.", aside=True)
    assert out.getvalue() == ""
    assert log.getvalue() == "Warning: DASO never blends in this run.\n"


def test_where_a_sweep_shows_how_far_a_run_is_its_evaluations_are_no_lines():
    followed = io.StringIO()
    followed.followed = True
    console = Console(followed)
    with console.progress(0, 10):
        console.row("eval", 5, {"test/top1": 61.25, "test/bacc": 60.0})
        console.warn("Step 5: something.")
    assert followed.getvalue() == "Warning: Step 5: something.\n"


def test_a_warning_is_said_once_and_at_the_end_where_nobody_said_it_before(out):
    told, other = "The network never predicts class 1.", "The network never predicts class 2."
    console = Console(out)
    console.warn(f"Step 50: {told}")
    console.summary(SUMMARY | {"warnings": [f"Step 100: {told}", f"Step 100: {other}"]})
    assert [line for line in lines(out) if "Warning" in line] == [
        f"Warning: Step 50: {told}",
        f"Warning: Step 100: {other}",
    ]


def test_where_images_are_held_out_they_are_told_before_the_test_set_which_chooses_nothing(out):
    console = Console(out)
    values = {f"{split}/{name}": number for number, split in ((50, "valid"), (60, "test")) for name in ("top1", "bacc")}
    console.row("eval", 50, values)
    console.summary(SUMMARY | values)
    assert lines(out)[0].endswith("valid top1 50.0 bacc 50.0  test top1 60.0 bacc 60.0")
    assert "runs are compared and chosen by valid; test only tells" in lines(out)


def test_on_a_terminal_evaluations_move_the_live_line_and_warnings_stay(out):
    console = Console(out, width=120, live=True)
    with console.progress(0, 10):
        console.row("eval", 5, {"test/top1": 61.25, "test/bacc": 60.0})
        console.warn("Step 5: something [odd].")
    assert "step 5/10" in out.getvalue()
    assert "something [odd]." in out.getvalue()


def test_the_live_line_fits_a_narrow_terminal(out):
    console = Console(out, width=60, live=True)
    with console.progress(0, 250000):
        console.row("train", 100, {"train/loss_total": 1.5, "time/steps_per_second": 12.5})
        console.row("eval", 100, {"test/top1": 61.25, "test/bacc": 60.0})
    assert "…" in out.getvalue()


def test_a_line_is_drawn_also_when_the_run_breaks_off(out):
    console = Console(out, width=100, live=True)

    def broken_off():
        with console.progress(0, 10):
            console.advance(7)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert "step 7/10" in out.getvalue()
    console.advance(8)


def test_time_left_counts_from_where_a_resumed_run_went_on(out, monkeypatch):
    clock = iter([0.0, 10.0])
    console = Console(out, width=100)
    monkeypatch.setattr("daso.track.console.time.monotonic", lambda: next(clock))
    with console.progress(900, 1000):
        console.row("eval", 950, {})
    assert lines(out) == ["step 950/1000  10s left  5/s"]


def test_what_a_foreign_recipe_reports_comes_first_beside_the_paper_s_number(out):
    numbers = {"recipe": "cdmad", "reports": "bacc_mean20", "test/bacc_mean20": 58.25, "test/bacc_median20": 58.5}
    Console(out, width=120).summary(SUMMARY | numbers)
    table = lines(out)
    assert table[1].split()[:3] == ["bacc_mean20", "58.25", "what"]
    assert "what recipe cdmad reports: mean of the last 20 evaluations" in table[1]
    assert table[2].split()[:2] == ["top1_median20", "60.50"]
    assert not any("bacc_median20" in line for line in table)


def test_a_reported_number_that_the_table_has_anyway_stands_there_once(out):
    Console(out, width=120).summary(SUMMARY | {"recipe": "usb", "reports": "top1_best", "test/top1_best": 63.0})
    assert [line.split()[0] for line in lines(out) if "top1_best" in line] == ["top1_best"]
    assert "selected on the set itself" in out.getvalue()


def test_the_table_has_the_numbers_and_only_the_metrics_that_there_are(out):
    Console(out, width=100).summary(SUMMARY)
    rows = {line.split()[0]: line.split()[1] for line in lines(out) if line}
    assert (rows["top1_median20"], rows["top1"]) == ("60.50", "61.25")
    assert not {"gm", "top5", "valid"} & rows.keys()
    assert "test recall of each class, from class 0: 98 42 -" in lines(out)
    assert "pseudo-labels of the last period (fractions): recall 0.90, precision 0.80, coverage 0.70" in lines(out)
    assert "Warning: The network is never right about class 2 of the test set." in lines(out)
    assert lines(out)[-1] == "run 0a1b2c3d4e5f: 1,000 steps in 1m18s"


def test_what_is_made_of_fewer_than_20_evaluations_says_of_how_many(out):
    Console(out, width=100).summary(SUMMARY | {"test/top1_mean20": 60.0}, evaluations=4)
    assert "the paper's number: median of all 4 evaluations (there are no 20)" in out.getvalue()
    assert "mean of all 4 evaluations" in out.getvalue()
    assert out.getvalue().count("there are no 20") == 1
    Console(out, width=100).summary(SUMMARY, evaluations=1)
    assert "median of the only evaluation (there are no 20)" in out.getvalue()


def test_validation_stands_beside_test(out):
    Console(out, width=100).summary(SUMMARY | {"valid/top1": 70.0})
    assert lines(out)[0].split()[:4] == ["metric", "(%)", "valid", "test"]
    assert next(line.split()[:3] for line in lines(out) if line.startswith("top1 ")) == ["top1", "70.00", "61.25"]


@pytest.mark.parametrize(("classes", "rows"), [(5, 0), (6, 1)])
def test_the_five_best_of_five_classes_are_no_row(out, classes, rows):
    recalls = {f"test/class/{k}": 50.0 for k in range(classes)}
    Console(out, width=100).summary(
        {"run_key": "0a", "steps": 1, "seconds": 1, "test/top1": 50, "test/top5": 100} | recalls
    )
    assert sum(line.startswith("top5 ") for line in lines(out)) == rows


def test_many_classes_are_summed_up(out):
    classes = {f"test/class/{k}": float(k) for k in range(100)}
    Console(out, width=100).summary(SUMMARY | classes)
    assert "test recall of ten groups of classes, from class 0: 4 14 24 34 44 54 64 74 84 94" in lines(out)
    assert sizes([500] * 99 + [5]) == "49,505 in 100 classes, from 500 (class 0) to 5 (class 99)"


def test_unlabeled_images_may_be_of_unknown_class_or_not_there():
    assert sizes(100_000) == "100,000, of unknown class"
    assert sizes(100_000, known=400) == "100,000, 400 of known class"
    assert sizes(0) == "none"


@pytest.mark.parametrize(("seconds", "text"), [(4.6, "5s"), (185, "3m05s"), (7640, "2h07m"), (273600, "3d04h")])
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_an_ascii_terminal_can_show_everything():
    code = f"from daso.track.console import Console; c = Console(); c.header({FACTS}); c.summary({SUMMARY})"
    env = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": ".", "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)


def test_the_console_needs_no_torch():
    code = "import sys, daso.track.console; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_recalls_of_few_classes_stand_beside_their_names(out):
    Console(out, width=100).summary(SUMMARY, ["cat", "dog", "hen"])
    assert "test recall of each class: cat 98, dog 42, hen -" in lines(out)
