"""Figures, from recorded runs."""

from xml.etree import ElementTree

import numpy as np
import pytest

from daso.report.__main__ import configure, main
from daso.report.collect import collect
from daso.report.figures.canvas import COLORS, Canvas, Form, Paper, Series
from daso.report.figures.classes import groups, parts
from daso.report.figures.draw import bars, clouds, curve, curves, matrices, per_class, scatter
from daso.report.figures.figure import draw
from daso.report.figures.openset import entropies
from daso.report.figures.own import own_series
from daso.report.figures.printed import published
from daso.report.figures.specs import SPECS
from daso.report.tables.table import Options
from tests.report.fake import DASO, FIXMATCH, classes, journal, record

SETTING = "N1=500 gl=100 gu=100"


def of(runs, method):
    return [run for run in runs if (run.config["daso"]["name"] == "daso") == (method == "daso")]


def test_minority_and_majority_are_a_fifth_of_the_classes():
    assert parts(10)["minority"] == [8, 9]
    assert parts(100)["majority"] == list(range(20))


def test_the_groups_of_ten_classes_are_those_of_figure_2():
    assert groups(10) == [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9]]


def test_every_class_is_in_one_group_and_no_group_is_empty():
    for classes_of in range(2, 30):
        assert [k for some in groups(classes_of) for k in some] == list(range(classes_of))
        assert all(groups(classes_of))


def test_a_curve_is_the_mean_over_seeds_of_the_mean_over_classes(runs):
    steps, means, spread = curve(of(runs, "fixmatch"), "test/class", [8, 9])
    assert steps.tolist() == [500, 1000]
    assert means.tolist() == [9.0, 19.0]  # seed 0: 8.5 and 18.5, seed 1: 9.5 and 19.5
    assert spread == pytest.approx([0.5**0.5] * 2)


def test_final_values_of_all_seeds_by_class(runs):
    values = per_class(of(runs, "fixmatch"), "test/class")
    assert values.shape == (2, 10)
    assert values[1].tolist() == list(range(1, 11))


def test_a_quantity_that_no_run_has_is_not_drawn(runs):
    assert per_class(runs, "pl/linear/recall/class") is None


def test_published_points_come_by_quantity_and_part():
    known = published("3", "", "fixmatch", "daso")
    assert known["test_top1", "overall"]["250000"] == pytest.approx(76.29, abs=0.01)
    assert set(known) == {(q, p) for q in ("pl_recall", "test_top1") for p in ("overall", "minority")}


@pytest.mark.parametrize("name", ["2", "3", "5", "6", "7", "8", "9", "10", "12"])
def test_a_figure_is_drawn_from_published_values_alone_where_there_are_no_runs(name, tmp_path):
    made = draw(name, [], Options(), configure, Form(tmp_path))
    assert len(made) == 2 * len(SPECS[name])
    for path in made:
        assert path.stat().st_size > 5000
        if path.suffix == ".svg":
            ElementTree.parse(path)


def test_own_runs_join_the_published_ones_by_their_configuration(runs, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr("daso.report.figures.draw.bars", lambda series, *_: drawn.update({s.label: s for s in series}))
    monkeypatch.setattr(Canvas, "save", lambda *_: [tmp_path])
    draw("2", runs, Options(), configure, Form(tmp_path))
    assert {label: len(one.runs) for label, one in drawn.items()} == {"FixMatch": 2, "USADTM": 0, "FixMatch + DASO": 2}
    assert drawn["USADTM"].published["test_top1", ""]["C0-C2"] == pytest.approx(86.45, abs=0.01)


def test_any_runs_can_be_drawn_by_their_setting(runs, tmp_path):
    made = draw("3", runs, Options(), configure, Form(tmp_path), own=True)
    assert sorted(path.name for path in made) == [
        "figure3_cifar10_N1_500_gl_100_gu_100.png",
        "figure3_cifar10_N1_500_gl_100_gu_100.svg",
    ]


@pytest.mark.parametrize("paper", [None, Paper("pdf", 3.25)])
def test_clouds_of_named_classes_stand_by_their_names_in_the_room_there_is(paper):
    y = np.repeat(np.arange(10), 3)
    points = np.random.default_rng(0).normal(size=(30, 2))
    names = [f"{'long ' * (k % 3)}name {k}" for k in range(10)]
    canvas = Canvas(paper)
    with canvas.style():
        figure = clouds({"fixmatch": (points, y)}, "", canvas, names)
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
    assert legend(figure) == names
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert legend(clouds({"fixmatch": (points, y)}, "", canvas))[0] == "C0"


def test_a_figure_without_an_own_run_says_so_and_what_draws_those_there_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Canvas, "save", lambda *_: [tmp_path / "figure"])
    record(tmp_path / "outputs", ("experiment=quickstart",), 0, 70.0)
    assert main(["figure=3"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "No own run is in Figure 3: it shows cifar10 N1=500 M1=4000 gl=100 gu=100.",
        "Not counted: 1 finished run of other settings or methods (digits N1=20 gl=10 gu=1): "
        "figure=3 own=true draws them.",
    ]


def test_figures_of_features_need_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["figure=4"]) == 2
    assert "figure=4 has nothing to draw" in capsys.readouterr().err


def test_of_slow_pictures_each_is_spoken_of_before_it_is_made_and_each_file_when_it_is_there(
    runs, tmp_path, monkeypatch, capsys
):
    said = []

    def embed(run):
        said.append(capsys.readouterr())
        return np.zeros((3, 2)), np.arange(3)

    record(tmp_path / "more", (*FIXMATCH, "optim.lr=0.1"), 0, 70.0)
    monkeypatch.setattr("daso.report.figures.features.embed", embed)
    monkeypatch.setattr(Canvas, "save", lambda canvas, figure, path, notes: [path])
    both = [*of(runs, "fixmatch"), *collect([tmp_path / "more"])]
    draw("4", both, Options(), configure, Form(tmp_path), own=True)
    first, second = said
    assert first.err.startswith("Figure 4 of own runs: cifar10 N1=500 gl=100 gu=100")
    assert first.err.endswith(": t-SNE of the features of fixmatch\n")
    assert second.out.startswith(f"wrote {tmp_path}")


def test_a_figure_shows_the_runs_that_a_table_counts_and_says_what_they_want(tmp_path):
    made = {}
    for overrides, seed, steps, value in (
        (FIXMATCH, 0, 250_000, 80.0),
        (FIXMATCH, 0, 1_000, 10.0),
        (FIXMATCH, 1, 1_000, 10.0),
        (DASO, 0, 1_000, 20.0),
        (DASO, 1, 1_000, 30.0),
        (DASO, 2, 1_000, 40.0),
    ):
        record(tmp_path / "runs", overrides, seed, value, steps=steps, **classes(value, ["test/class"]))
    runs = collect([tmp_path / "runs"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Canvas, "save", lambda canvas, figure, path, notes: made.setdefault("figure", figure) and [path])
        draw("2", runs, Options(), configure, Form(tmp_path))
    figure = made["figure"]
    assert legend(figure)[:3] == [
        "FixMatch (seed 0)†",
        "USADTM (published only)",
        "FixMatch + DASO (seeds 0-2, 1000 of 250000 steps)‡",
    ]
    assert {"† fewer than 3 seeds", "‡ trained for fewer steps than are asked for"} <= set(legend(figure))
    heights = [bar.get_height() for bar in figure.axes[2].patches]
    # classes 0 to 2 of values v, v + 1, v + 2: the long run's mean is 81, that of the three short ones 30 + 1
    assert heights[0] == 81.0
    assert 31.0 in heights


def test_series_of_own_runs_are_one_a_method(runs):
    (series,) = own_series(runs, Options()).values()
    assert [(one.label, len(one.runs)) for one in series] == [("fixmatch", 2), ("fixmatch_daso", 2)]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_legend_names_seeds_and_what_the_signs_mean(runs):
    series = [
        Series("a", of(runs, "fixmatch")),
        Series("b", runs[:1], {("test_top1", ""): {"C0": 1.0}}),
        Series("c", []),
    ]
    spread = "± standard deviation over seeds"
    only = f"b (seed {runs[0].seed})"
    named = ["a (seeds 0-1)", only, "c (published only)"]
    assert legend(bars(series, groups(10), "")) == [*named, spread, "published"]
    assert legend(curves(series, 10, "", ("overall",))) == [*named, "all classes", spread, "published"]
    assert legend(scatter(series, 10, "")) == [*named, "least-squares line", "published"]
    assert spread not in legend(bars(series[1:], groups(10), ""))  # of one seed there is none


def test_a_picture_says_how_many_methods_it_leaves_out(runs):
    series = [Series(str(number), runs) for number in range(len(COLORS) + 3)]
    figure = scatter(series, 10, "title")
    assert figure.get_suptitle() == "title\n(the first 8 of 11 methods)"
    assert "8 (seeds 0-1)" not in legend(figure)


def test_a_panel_of_values_that_no_run_has_is_left_out_and_named(tmp_path):
    folder = record(tmp_path / "more", FIXMATCH, 0, 70.0, **classes(1, ["test/class"]))
    journal(folder, [(500, classes(1, ["test/class"]))])
    series = [Series("a", collect([tmp_path / "more"]))]
    said = "title\n(not measured without unlabeled images of known class: pseudo-label recall"
    for figure, label, more in (
        (bars(series, groups(10), "title"), "balanced test accuracy (%)", " and pseudo-label precision"),
        (bars(series, [[k] for k in range(10)], "title"), "test recall (%)", " and pseudo-label precision"),
        (scatter(series, 10, "title"), "test recall (%)", " and pseudo-label precision"),
        (curves(series, 10, "title", ("overall",)), "balanced test accuracy (%)", ""),
    ):
        assert [ax.get_ylabel() for ax in figure.axes] == [label]
        assert figure.get_suptitle().split() == f"{said}{more})".split()  # folded where the picture is narrow


def test_a_single_evaluation_is_a_dot(tmp_path):
    folder = record(tmp_path / "more", FIXMATCH, 0, 70.0, **classes(1, ["test/class"]))
    for steps, marker in (([500], "o"), ([500, 1000], "None")):
        journal(folder, [(step, classes(1, ["test/class"])) for step in steps])
        (ax,) = curves([Series("a", collect([tmp_path / "more"]))], 10, "", ("overall",)).axes
        assert [line.get_marker() for line in ax.lines] == [marker]


def test_matrices_of_a_method_stand_below_each_other():
    one = np.eye(3)
    figure = matrices({"own": {"b": one, "d": one}, "published": {"a": one, "b": one, "c": one, "d": one}}, "")
    figure.draw_without_rendering()
    columns = {}
    for ax in figure.axes:
        if ax.axison:
            columns.setdefault(ax.get_title()[0], set()).add(round(ax.get_position().x0, 3))
    assert {label: len(places) for label, places in columns.items()} == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert columns["a"] != columns["b"]


def stands(axis):
    """The positions of the classes at an axis and what stands at each."""
    return dict(zip(axis.get_ticklocs(), (label.get_text() for label in axis.get_ticklabels())))


@pytest.mark.parametrize("paper", [None, Paper("pdf", 3.25)])
def test_classes_of_points_and_matrices_stand_by_their_names(runs, paper):
    called = [f"bird {k}" for k in range(10)]
    canvas = Canvas(paper)
    with canvas.style():
        points = scatter([Series("a", runs)], 10, "", canvas, called)
        matrix = matrices({"own": {"a": np.eye(10)}}, "", canvas, called)
        assert all(stands(ax.xaxis) == dict(enumerate(called)) for ax in points.axes)
        assert stands(matrix.axes[0].yaxis) == stands(matrix.axes[0].xaxis) == dict(enumerate(called))
        for figure in (points, matrix):
            figure.draw_without_rendering()
            for ax in figure.axes:
                boxes = [label.get_tightbbox() for label in ax.xaxis.get_ticklabels()]
                assert min(box.x0 for box in boxes) > 0
                assert max(box.x1 for box in boxes) < figure.bbox.x1


def test_of_more_classes_than_there_is_room_for_some_stand_by_their_names(runs):
    called = [f"bird {k}" for k in range(200)]
    (ax,) = matrices({"own": {"a": np.eye(200)}}, "", Canvas(), called).axes
    named = stands(ax.xaxis)
    assert 5 < len(named) < 30
    assert all(name == called[int(k)] for k, name in named.items())


def test_all_panels_of_a_picture_have_the_same_classes_also_those_that_are_never_predicted(tmp_path):
    seldom = {f"pl/final/precision/class/{k}": 0.5 for k in range(4)}
    record(tmp_path, FIXMATCH, 0, 70.0, **classes(0.1, ["test/class", "pl/final/recall/class"]) | seldom)
    series = [Series("a", collect([tmp_path]))]
    for figure, last in (
        (bars(series, [[k] for k in range(10)], ""), 9),
        (bars(series, groups(10), ""), 2),
        (scatter(series, 10, ""), 9),
    ):
        first, *others = (ax.get_xlim() for ax in figure.axes)
        assert others == [first, first]
        assert first[0] <= -0.5
        assert first[1] >= last + 0.5


def test_a_legend_of_many_long_names_stays_in_the_picture(runs):
    series = [Series(f"a rather long name, number {number}", runs) for number in range(8)]
    figure = curves(series, 10, "", ("overall", "minority"))
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1
    short = curves(series[:1], 10, "", ("overall", "minority"))
    short.draw_without_rendering()
    tall, usual = (one.axes[0].get_window_extent().height for one in (figure, short))
    assert tall > 0.85 * usual


@pytest.mark.parametrize("paper", [None, Paper("pdf", 3.25)])
def test_the_legend_of_a_single_histogram_stays_in_the_picture(runs, tmp_path, paper):
    np.savez(runs[0].folder.openset, edges=np.arange(4.0), inside=np.ones(3), outside=np.ones(3))
    canvas = Canvas(paper)
    with canvas.style():
        figure = entropies([Series("a", runs[:1], min_seeds=3)], "", canvas)
        figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1


def test_a_title_with_its_remarks_takes_three_lines_at_most(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(Canvas, "save", lambda canvas, figure, *_: titles.append(figure.get_suptitle()) or [tmp_path])
    for name in ("3", "6", "7", "8", "10"):
        draw(name, [], Options(), configure, Form(tmp_path))
    assert max(title.count("\n") for title in titles) == 2


def test_a_label_of_a_panel_does_not_touch_the_panel_beside_it(runs):
    figure = bars([Series("a", runs)], groups(10), "")
    figure.draw_without_rendering()
    for left, right in zip(figure.axes, figure.axes[1:]):
        assert right.yaxis.label.get_window_extent().x0 - left.get_window_extent().x1 > 5


def test_the_bars_of_a_page_are_one_a_class_where_there_are_few(runs):
    def names(chosen):
        return [
            tick.get_text()
            for tick in bars(own_series(runs, Options())["cifar10", SETTING], chosen, "").axes[0].get_xticklabels()
        ]

    assert names([[k] for k in range(10)]) == [f"C{k}" for k in range(10)]
    assert names(groups(10)) == ["C0-C2", "C3-C6", "C7-C9"]


def test_missing_classes_leave_a_gap_in_the_means():
    series = Series("none", [])
    assert per_class(series.runs, "test/class") is None
    assert np.isnan(per_class_of_one({"test/class/0": 1.0})[0, 1])


def per_class_of_one(summary):
    class Only:
        def per_class(self, metric):
            return [summary.get(f"{metric}/{k}") for k in range(2)]

    return per_class([Only()], "test/class")
