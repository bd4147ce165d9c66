"""Published cell -> (configuration, metric), and configuration -> its cells."""

import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from daso.errors import UserError
from daso.published.cells import DATASETS, TABLES, cells, grid, overrides_of, served_by
from daso.published.numbers import numbers, points
from daso.settings.compose import configuration
from tests.compose import config_of

CONF = Path(__file__).parents[2] / "conf"
EVERY = [cell for table in TABLES for cell in cells(table)]
PRINTED = [n for n in numbers() if n.table in TABLES and n.protocol != "usb" and n.dataset in DATASETS]
NODES = {  # a word of `published.csv` -> the node of the configuration, and the option, that it means
    "la": ("supervised", "la"),
    "cb": ("supervised", "cb"),
    "ldam-drw": ("supervised", "ldam_drw"),
    "crt": ("protocol", "crt"),
    "crest": ("protocol", "crest"),
    "crest+": ("protocol", "crest_plus"),
    "darp": ("darp", "darp"),
    "boss": ("confidence", "boss"),
    "abc": ("abc", "abc"),
    "daso": ("daso", "daso"),
}
PLAIN = {"supervised": "ce", "protocol": "none", "darp": "none", "confidence": "none", "abc": "none", "daso": "none"}


def nodes(rebalancer):
    """The nodes that a printed method fills: `la+crest+` -> la and crest+; la-inf, which is not trained, none."""
    words = re.findall(r"crest\+|[a-z][a-z-]*", rebalancer.partition("[")[0])
    return dict(NODES[word] for word in words if word not in ("none", "la-inf"))


def cell(table, row, column, dataset="cifar10"):
    (found,) = [c for c in cells(table) if (c.row, c.column, c.dataset) == (row, column, dataset)]
    return found


def knobs(overrides):
    return overrides[3:]


def test_every_published_number_of_the_paper_s_tables_on_known_data_is_a_cell():
    printed = Counter(n.table for n in numbers() if n.protocol.startswith("paper") and n.dataset in DATASETS)
    assert {t: len(cells(t)) for t in TABLES} == {t: printed[t] for t in TABLES}
    assert sum(len(cells(t)) for t in TABLES) == 424


def test_a_row_and_a_column_name_one_cell():
    names = Counter((c.table, c.dataset, c.row, c.column) for c in EVERY)
    assert set(names.values()) == {1}


def test_the_cells_of_a_configuration_within_a_table_differ_in_their_metric():
    names = Counter((c.table, c.overrides, c.metric) for c in EVERY)
    twice = {name for name, count in names.items() if count > 1}
    assert {(table, overrides[2]) for table, overrides, _ in twice} == {("4", "algorithm=supervised")}  # reads no U


def test_a_configuration_knows_every_cell_that_it_serves():
    (daso,) = {c.overrides for c in cells(5) if "blend=on, align=on" in c.row and c.dataset == "cifar10"}
    assert {c.table for c in served_by(daso)} == {"1", "5", "6", "7", "8", "11", "15", "16", "17"}
    assert all(c in served_by(c.overrides) for c in EVERY)


def test_rows_after_la_read_the_run_of_another_row():
    row = "N1=1500 M1=3000 gl=100 gu=100"
    for after, trained in (
        ("FixMatch + LA (inf)", "FixMatch"),
        ("FixMatch + LA (inf) + DASO", "FixMatch + DASO"),
        ("FixMatch + LA (inf) + CReST+", "FixMatch + CReST+"),
    ):
        adjusted = cell(14, after, row)
        assert adjusted.metric == "test/top1_la_median20"
        assert adjusted.overrides == cell(1, trained, row).overrides
    assert {c.metric for c in EVERY if "inf" not in c.row and "last" not in c.column} == {"test/top1_median20"}


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (5, "blend=on, align=on"),
        (6, "v=dist-aware"),
        (7, "bal=on, ema=on"),
        (15, "L=256"),
        (16, "T_proto=0.05"),
        (17, "lambda_align=1"),
    ],
)
def test_the_default_point_of_an_ablation_is_the_full_method(table, row):
    for dataset in ("cifar10", "stl10"):
        (found,) = [c for c in cells(table) if c.row == f"FixMatch + DASO, {row}" and c.dataset == dataset]
        assert knobs(found.overrides) == ()
        assert found.overrides[2] == "algorithm=fixmatch_daso"


def test_the_default_t_dist_follows_the_data_set():
    values = {(c.dataset, c.row.rpartition("=")[2]): knobs(c.overrides) for c in cells(8)}
    assert values["cifar10", "1.5"] == values["stl10", "0.3"] == ()
    assert values["cifar10", "0.3"] == ("daso.t_dist=0.3",)


def test_equal_ablations_of_two_tables_are_one_configuration():
    c10 = "N1=500 M1=4000 gl=100 gu=100"
    no_alignment = cell(5, "FixMatch + DASO, blend=on, align=off", c10).overrides
    assert no_alignment == cell(17, "FixMatch + DASO, lambda_align=0", c10).overrides
    no_blend = cell(5, "FixMatch + DASO, blend=off, align=on", c10).overrides
    assert no_blend == cell(6, "FixMatch + DASO, v=0", c10).overrides


def test_a_row_without_daso_has_nothing_to_vary():
    assert {knobs(c.overrides) for t in (5, 15, 16, 17) for c in cells(t) if c.row.startswith("FixMatch,")} == {()}


def test_only_remixmatch_with_daso_on_cifar100_aligns_against_its_preset():
    aligned = {(c.row, c.dataset) for c in EVERY if any(o.startswith("align") for o in c.overrides)}
    assert aligned == {("ReMixMatch + DASO", "cifar100")}


def test_the_imbalance_option_of_every_cell_has_the_printed_sizes():
    for c in EVERY:
        option = c.overrides[1].removeprefix("imbalance=")
        if option == "semi_aves_default":  # the files have the sizes
            continue
        lines = (CONF / "imbalance" / f"{option}.yaml").read_text().splitlines()
        sizes = dict(line.split(": ") for line in lines if ": " in line and not line.startswith("#"))
        gamma_u = sizes["gamma_l"] if sizes["gamma_u"] == "${.gamma_l}" else sizes["gamma_u"]
        assert (sizes["n1"], sizes["m1"], sizes["gamma_l"], gamma_u, "long_tailed") == tuple(c.setting)


def test_the_grid_has_each_configuration_once():
    assert len(grid(1, "cifar10")) == 48
    assert len(grid(14)) == 24  # 28 cells, of which 4 read FixMatch's own runs after LA
    assert len({o for t in TABLES for o in grid(t)}) == len({c.overrides for c in EVERY})


def test_both_values_of_a_cell_that_is_printed_twice_are_footnoted():
    for table, value in ((1, 57.4), (11, 57.1)):
        found = cell(table, "FixMatch + CReST+", "N1=150 M1=300 gl=10 gu=10", "cifar100")
        assert found.mean == value
        assert "57.4 ± 0.18 in Table 1, 57.1 ± 0.65 in Table 11" in found.footnotes[0]


def test_the_gain_that_the_text_claims_of_figure_3_is_footnoted_beside_what_its_curves_and_table_1_give():
    column = "N1=500 M1=4000 gl=100 gu=100"
    base, daso = (cell(1, row, column) for row in ("FixMatch", "FixMatch + DASO"))
    assert round(daso.mean - base.mean, 1) == 8.2
    ends = [max((float(p.x), p.y) for p in points() if p[:1] + p[3:5] == ("fig3", f"{method}:overall", "test_top1"))[1]
            for method in ("fixmatch+daso", "fixmatch")]  # fmt: skip
    assert [round(end, 1) for end in ends] == [76.3, 68.7]
    (text,) = daso.footnotes
    assert "a gain of 9" in text
    assert "76.3 and 68.7" in text
    assert "give 8.2" in text


def test_every_footnote_belongs_to_a_cell():
    shown = {text for c in EVERY for text in c.footnotes}
    assert len(shown) == 11


@pytest.mark.parametrize("table", [9, "fig2", ""])
def test_an_unknown_table_is_refused_in_one_sentence(table):
    with pytest.raises(UserError, match=rf"table={table} is not possible: .*\.$"):
        cells(table)


def test_the_published_figures_average_to_their_printed_legends():
    recall = [p.y for p in points() if p.figure == "fig5" and p.quantity == "pl_recall" and p.series == "fixmatch"]
    assert sum(recall) / len(recall) == pytest.approx(0.68, abs=0.005)


@pytest.mark.parametrize("place", sorted({c.overrides[:2] for c in EVERY}), ids="-".join)
def test_configurations_that_are_written_differently_are_different_runs_of_full_length_in_the_printed_setting(place):
    members = {c.overrides: c for c in EVERY if c.overrides[:2] == place}
    configs = {overrides: configuration(overrides) for overrides in members}
    assert len({config.run_key for config in configs.values()}) == len(configs)
    lengths = {2095, 1873, 10_466} if place[0] == "dataset=semi_aves" else {250_000}
    assert {config.train.steps for config in configs.values()} == lengths
    for overrides, config in configs.items():
        printed, imb = members[overrides].setting, config.imb
        ratios = [str(Fraction(imb.gamma_l) if imb.gamma_l == int(imb.gamma_l) else imb.gamma_l)]
        ratios += [str(Fraction(imb.gamma_u).limit_denominator(1000)) if imb.gamma_u != "unknown" else "unknown"]
        assert (config.dataset.name, str(imb.n1), str(imb.m1), *ratios, imb.unlabeled_shape) == (
            members[overrides].dataset,
            *printed,
        )


@pytest.mark.parametrize("preset", sorted({c.overrides[2] for c in EVERY}))
def test_every_word_of_a_printed_method_is_a_node_of_what_its_cells_compose(preset):
    members = {(n.dataset, n.rebalancer.partition("[")[0]): n for n in PRINTED if overrides_of(n)[2] == preset}
    for number in members.values():
        config, printed = configuration(overrides_of(number)), nodes(number.rebalancer)
        assert config.algorithm.name == number.learner
        assert {name: getattr(config, name).name for name in PLAIN} == PLAIN | printed, number
        if number.learner != "remixmatch":  # which aligns by itself
            assert config.align.name == ("da" if printed.get("protocol") == "crest_plus" else "none"), number


@pytest.mark.parametrize(
    "line",
    [grid(1)[1], grid(2)[2], grid(8)[0], grid(12)[-1], (*grid(1)[0], "imb.m1=300", "train.steps=1000", "train.mu=1")],
)
def test_imbalance_and_values_on_a_copy_compose_what_the_command_line_would(line):
    assert configuration(line) == config_of(*line)


def test_table_4_reads_the_last_and_the_median_accuracy_of_eleven_configurations():
    content = cells(4)
    assert len(grid(4)) == 11
    assert Counter((c.column, c.metric) for c in content) == {
        ("U=in, last", "test/top1"): 6,
        ("U=in, median", "test/top1_median20"): 6,
        ("U=in+out, last", "test/top1"): 6,
        ("U=in+out, median", "test/top1_median20"): 6,
    }


def test_the_paper_s_protocol_on_semi_aves_needs_no_files_to_be_composed():
    """Epochs, P and the period of the histogram in steps; schedule, EMA, T_dist; CReST's and DARP's own values."""
    found = {c.overrides: configuration(c.overrides) for c in cells(4)}
    by_method = {(o[2].partition("=")[2], "dataset.unlabeled=in_out" in o): config for o, config in found.items()}
    for (method, outside), config in by_method.items():
        train, optim, epoch = config.train, config.optim, (148_848 if outside else 26_640) / 1280
        assert (train.batch_size, train.epochs, train.eval_every, train.evaluations) == (256, 90, "epoch", 90)
        assert (optim.lr, optim.gamma, optim.weight_decay, optim.ema_decay) == (
            0.1 if method == "supervised" else 0.04, 0.1, 3e-4, 0.9,
        )  # fmt: skip
        assert [round(90 * f) for f in (optim.warmup, *optim.milestones)] == [5, 30, 60]
        assert (config.model.name, config.model.depth, config.dataset.resolution) == ("resnet", 34, 224)
        assert (config.dataset.resized_crop, config.dataset.cutout) == (True, 112)
        if method == "fixmatch_daso":
            assert (config.daso.t_dist, config.daso.warmup_steps, config.daso.update_every) == (
                0.5, round(20 * epoch), round(epoch),
            )  # fmt: skip
        if "crest" in method:
            assert (config.protocol.generations, round(1 / config.protocol.alpha, 3)) == (3, 0.7)
        if "darp" in method:
            assert (config.darp.goal, config.darp.alpha, config.darp.every, config.darp.warmup) == (
                "labeled",
                2,
                10,
                0.4,
            )


def test_numbers_of_another_protocol_are_no_cells():
    assert {n.protocol for n in numbers() if n.table == "4"} == {"paper", "seval"}
    assert not {c.mean for c in cells(4)} & {n.mean for n in numbers() if n.protocol == "seval"}
