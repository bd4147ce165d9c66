"""Sweeps over the paper's tables: which runs there are, in which rows, and what the command line changes."""

import subprocess
from pathlib import Path

import pytest
import yaml

from daso.published.cells import TABLES, cells, grid
from daso.sweep.grid import doubles, labels, table_runs, varying

ROOT = Path(__file__).parents[2]
PARTS = [(table, dataset) for table in TABLES for dataset in dict.fromkeys(cell.dataset for cell in cells(table))]
TINY = ["dataset=digits", "imbalance=digits_default", "model=wrn10_1", "train.steps=20"]


@pytest.mark.parametrize(("table", "dataset"), PARTS)
def test_each_table_has_an_experiment_and_a_script_on_each_data_set(table, dataset):
    name = f"table{table}_{dataset}"
    text = (ROOT / "conf" / "experiment" / f"{name}.yaml").read_text()
    options = yaml.safe_load(text)
    assert options["sweep"] == {"table": table, "dataset": dataset}
    assert options["hydra"] == {"mode": "MULTIRUN", "sweeper": {"params": {"seed": "0,1,2"}}}
    count = len(grid(table, dataset))
    assert f"{count} configurations with seeds 0, 1, 2." in text
    assert f"# Runs: {3 * count}" in text
    script = ROOT / "multirun_scripts" / f"{name}.sh"
    assert f'python train.py -m experiment={name} "$@"' in script.read_text()
    assert script.stat().st_mode & 0o111


def test_no_other_table_has_an_experiment():
    names = {path.stem for path in (ROOT / "conf" / "experiment").glob("table*.yaml")}
    assert names == {f"table{table}_{dataset}" for table, dataset in PARTS}


@pytest.mark.parametrize("dataset", ["cifar10", "fashion_mnist"])
def test_the_field_has_the_same_rows_on_three_kinds_of_unlabeled_data_with_seeds_outermost(dataset):
    name = f"field_{dataset}"
    params = yaml.safe_load((ROOT / "conf" / "experiment" / f"{name}.yaml").read_text())["hydra"]["sweeper"]["params"]
    assert list(params) == ["seed", "imbalance", "algorithm"]
    assert params["seed"] == "0,1,2"
    setting = f"{dataset}_n500_m4000_g100"
    assert params["imbalance"].split(",") == [setting, f"{setting}_uniform", f"{setting}_reversed"]
    rows = params["algorithm"].replace(" ", "").split(",")
    assert len(rows) == len(set(rows)) >= 20
    assert {path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml")} >= set(rows)
    other = {"cifar10": "fashion_mnist", "fashion_mnist": "cifar10"}[dataset]
    text = (ROOT / "conf" / "experiment" / f"field_{other}.yaml").read_text()
    assert yaml.safe_load(text)["hydra"]["sweeper"]["params"]["algorithm"].replace(" ", "").split(",") == rows
    script = ROOT / "multirun_scripts" / f"{name}.sh"
    assert f'python train.py -m experiment={name} "$@"' in script.read_text()
    assert script.stat().st_mode & 0o111


def test_the_scripts_are_valid_shell():
    for script in (ROOT / "multirun_scripts").glob("*.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_a_table_s_grid_is_its_configurations_with_each_seed(sweep):
    code, out, _, jobs = sweep("experiment=table8_cifar10", "track=none")
    assert (code, len(jobs)) == (0, 12)
    configs = [config for config, _ in jobs]
    assert {config.daso.t_dist for config in configs} == {0.3, 0.5, 1.0, 1.5}
    assert {config.seed for config in configs} == {0, 1, 2}
    assert {(config.imb.n1, config.imb.m1) for config in configs} == {(500, 4000)}
    assert "12 of 12 jobs finished" in out


def test_a_table_needs_no_experiment_and_an_experiment_no_m(sweep, command, tmp_path):
    named = sweep("sweep.table=8", "sweep.dataset=cifar10", "seed=0")[3]
    assert len(named) == 4
    alone = command("experiment=table8_cifar10", "seed=0", "track=none", f"out_root={tmp_path / 'other'}")[3]
    assert [config.run_key for config, _ in alone] == [config.run_key for config, _ in named]


def test_what_reads_the_seed_is_resolved_for_each_seed(sweep):
    jobs = sweep("experiment=quickstart", "seed=1,2", "train.mu=${seed}")[3]
    # a job has a name if its run key is the planned one
    assert [(config.train.mu, provenance.name) for config, provenance in jobs] == [(1, "seed=1"), (2, "seed=2")]


def test_the_command_line_has_the_last_word_in_a_grid(sweep):
    _, _, _, jobs = sweep("experiment=table1_cifar10", "sweep.rows=fixmatch,fixmatch_daso", "seed=7", *TINY)
    assert [(config.dataset.name, config.daso.name, config.seed) for config, _ in jobs] == [
        ("digits", "none", 7),
        ("digits", "daso", 7),
    ]  # all four settings of the table have become one, which runs once


def test_a_row_is_chosen_by_its_algorithm_or_its_name_in_print():
    assert len(table_runs("1", "cifar10", ["fixmatch"])) == 4
    assert len(table_runs("1", "cifar10", ["fixmatch*daso"])) == 4 * 3
    assert table_runs("8", "cifar10", ["*T_dist=0.5"]) == table_runs("8", "cifar10", ["*t_dist=0.5"])
    assert len(table_runs("8", "cifar10", ["*T_dist=0.5"])) == 1


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("sweep.table=9", "one of 1, 2, 3"),
        ("sweep.dataset=svhn", "Table 1 has cifar10, cifar100"),
        ("sweep.rows=fixmach", "the rows are of supervised"),
        ("seed=interval(0,3)", "single values"),
    ],
)
def test_a_mistake_about_the_grid_is_one_sentence(sweep, typed, says):
    code, _, err, jobs = sweep("experiment=table1_cifar10", typed)
    assert (code, jobs) == (2, [])
    assert says in err
    assert err.count("\n") == 1


def test_jobs_are_called_by_what_not_all_of_them_have():
    jobs = [["dataset=digits", "algorithm=fixmatch", "daso.t_dist=0.3", f"seed={seed}"] for seed in (0, 1)]
    jobs.append(["dataset=digits", "algorithm=usadtm", "seed=0"])
    assert labels(jobs) == ["fixmatch t_dist=0.3 seed=0", "fixmatch t_dist=0.3 seed=1", "usadtm seed=0"]
    assert varying(jobs) == ["algorithm", "daso.t_dist", "seed"]
    values = ["10000000000000.0", "1e-05", "0.03", "100000.0", "1000000", "123456789.5", "1e999"]
    said = ["1e13", "1e-5", "0.03", "100000.0", "1000000", "123456789.5", "1e999"]
    assert labels([[f"optim.lr={value}"] for value in values]) == [f"lr={value}" for value in said]


def test_a_number_that_nobody_types_is_rounded_in_a_label_unless_it_becomes_another_one_s():
    drawn = ["0.8362417982471931", "12.000000000000002", "3.3300000000000003e-05"]
    assert labels([[f"optim.lr={value}"] for value in drawn]) == ["lr=0.8362", "lr=12", "lr=3.33e-5"]
    close = ["optim.lr=0.8362417982471931", "optim.lr=0.8362417982471932"]
    assert labels([[value] for value in close]) == [value.removeprefix("optim.") for value in close]


def test_what_is_the_run_of_another_combination_is_named_with_what_makes_no_difference():
    first = ["algorithm=supervised", "imb.gamma_u=1"]
    assert doubles([], [], 4) == ""
    assert doubles([], [], 2, again=1) == "1 of 2 combinations is written a second time."
    others = [(["algorithm=supervised", f"imb.gamma_u={g}"], first) for g in (2, 3, 4, 5)]
    assert doubles(others, ["gu=2", "gu=3", "gu=4", "gu=5"], 9) == (
        "4 of 9 combinations are the runs of others, where what differs (imb.gamma_u) changes nothing: "
        "gu=2, gu=3, gu=4 and 1 more."
    )
