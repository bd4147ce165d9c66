"""What a sweep refuses, before any job starts where all share the mistake, and how it ends where it can write nothing."""

import errno
import os
import re

import pytest

from daso.errors import UserError
from daso.sweep import here
from daso.sweep.session import Session
from tests.compose import config_of
from tests.config.jobs import done, finished_run


def test_jobs_that_cannot_be_composed_are_refused_and_the_others_run(sweep):
    code, out, err, jobs = sweep(
        "experiment=quickstart", "algorithm=fixmatch,supervised,fixmtch", "daso=none", "algorithm.threshold=0.9"
    )
    assert code == 1
    assert [config.algorithm.name for config, _ in jobs] == ["fixmatch"]
    assert "1 of 3 jobs finished" in out
    assert "\nfixmtch | algorithm=fixmtch is not possible" in err
    assert "the chosen algorithm has no threshold" in err


def test_a_combination_refused_by_a_check_does_not_stop_the_sweep(sweep):
    code, out, _, jobs = sweep("experiment=quickstart", "algorithm=supervised,fixmatch", "daso=paper")
    assert code == 1
    assert len(jobs) == 1
    assert "1 of 2 jobs finished" in out


def test_a_mistake_that_all_jobs_share_ends_the_sweep_before_it_starts(sweep):
    code, _, err, jobs = sweep("imb.gama_l=1,2")
    assert (code, jobs) == (2, [])
    assert "did you mean imb.gamma_l?" in err


def test_what_no_job_has_here_is_said_once_before_any_starts(sweep, tmp_path):
    no_network = f"dataset.root={tmp_path / 'data'}"
    lists = tmp_path / "data" / "cifar-10-batches-py"
    lists.mkdir(parents=True)
    (lists / "data_batch_1").write_bytes(b"of somebody else")
    for grid, says in (
        (("experiment=table1_cifar10", "sweep.rows=fixmatch", no_network), "data_batch_1 is damaged or changed"),
        (("experiment=quickstart", "seed=0,1", "device=cuda:99"), "device=cuda:99 is not here"),
    ):
        code, _, err, jobs = sweep(*grid, lacking=here.lacking)
        assert (code, jobs) == (2, [])
        assert says in err
        assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_some_jobs_lack_here_refuses_these(sweep):
    def lacking(configs, stopping):
        return {config.run_key: "No such data." for config in configs if config.seed > 0}

    code, out, err, jobs = sweep("experiment=quickstart", "seed=0,1,2", run=finished_run, lacking=lacking)
    assert (code, len(jobs)) == (1, 1)
    assert "1 of 3 jobs finished" in out
    assert err == "No such data.\n"


def test_a_refusal_that_all_jobs_share_is_a_mistake_wherever_they_ran(sweep):
    def run(config, provenance):
        raise UserError("No such data.")

    assert sweep("experiment=quickstart", "seed=0,1", run=run)[0] == 2


READ_ONLY = OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.fixture
def locked(monkeypatch):
    """No sweep can write to its folder: it is on a read-only mount, or another user's."""

    def refuse(root):
        raise READ_ONLY

    monkeypatch.setattr(Session, "start", refuse)


@pytest.mark.parametrize("experiment", ["experiment=quickstart", "experiment=tune_quickstart"])
def test_a_sweep_that_can_write_nothing_is_a_sentence_and_trains_nothing(sweep, locked, experiment):
    code, out, err, jobs = sweep(experiment)
    assert (code, jobs) == (2, [])
    assert re.fullmatch(r"out_root=.* is not possible: read-only file system; name a writable folder.\n", err)
    assert "STOPPED" not in out


def test_a_folder_of_runs_that_is_a_file_is_a_sentence(sweep, tmp_path):
    (tmp_path / "out").touch()
    for experiment in ("experiment=quickstart", "experiment=tune_quickstart"):
        code, _, err, jobs = sweep(experiment)
        assert (code, jobs, err.count("\n")) == (2, [], 1)
        assert "is not possible: file exists; name a writable folder" in err


def test_finished_runs_in_a_folder_that_nobody_may_write_are_finished(sweep, locked, tmp_path):
    done(config_of("experiment=quickstart", f"out_root={tmp_path / 'out'}"))
    code, out, _, jobs = sweep("experiment=quickstart", "seed=0")
    assert (code, jobs) == (0, [])
    assert "1 of 1 job finished" in out
    code, out, _, jobs = sweep("experiment=quickstart", "seed=0", "eval_only=true")
    assert (code, len(jobs)) == (0, 1)
    assert "1 of 1 job finished" in out


@pytest.mark.parametrize(("sweeper", "code"), [("grid", 0), ("basic", 1)])
def test_ends_that_nobody_could_write_down_are_known_or_count_as_failures(sweep, monkeypatch, sweeper, code):
    def full(session, *args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Session, "begin", full)
    monkeypatch.setattr(Session, "end", full)
    found, out, _, jobs = sweep("experiment=quickstart", "seed=0,1", f"hydra/sweeper={sweeper}")
    assert (found, len(jobs)) == (code, 2)
    assert ("2 of 2 jobs finished" in out) == (code == 0)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["experiment=quickstart", "hydra/sweeper=basic", "plan=true"], "plan=true is not possible with hydra/sweeper"),
        (["experiment=tune_quickstart", "hydra/sweeper=optuna", "plan=true"], "hydra/sweeper=optuna"),
        (["experiment=tune_quickstart", "hydra/sweeper=optuna"], "with hydra/sweeper=study reads it"),
        (["experiment=quickstart", "hydra/sweeper=optuna", "tune.n_trials=5"], "tune.n_trials=5 is not possible"),
        (["experiment=table1_cifar10", "hydra/sweeper=basic"], "sweep.table=1 is not possible"),
        (["experiment=table1_cifar10", "hydra/sweeper=study"], "sweep.table=1 is not possible"),
        (["experiment=tune_quickstart", "sweep.rows=fixmatch"], "sweep.rows=fixmatch is not possible"),
        (["experiment=quickstart", "seed=0,1", "tune.n_trials=5"], "tune.n_trials=5 is not possible"),
        (["experiment=quickstart", "sweep.rows=fixmach"], "without sweep.table"),
        (["experiment=table1_cifar10,table8_cifar10"], "a sweep by itself"),
        (["experiment=tune_quickstart,tune_daso"], "a sweep by itself"),
        (["experiment=quickstart", "plan=true,false"], "a sweep has one plan"),
    ],
)
def test_what_a_sweep_is_told_and_would_not_do_is_refused(sweep, typed, says):
    code, out, err, jobs = sweep(*typed)
    assert (code, out, jobs) == (2, "", [])
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("seed=range(0)", "no value is in it; range(a,b) ends before b"),
        ("seed=range(5,0)", "no value is in it"),
        ("seed=range(0,5,0)", "its step is 0"),
        ("daso.t_dist=range(0,1,1e-9)", "it has more than 100,000 values"),
        ("daso.t_dist=range(0,1e400)", "it has more than 100,000 values"),
        ("seed=tag(log,range(2))", "a grid reads no tag(...)"),
        ("algorithm=glob(zzz*)", "no option fits it"),
        ("daso.t_dist=interval(1,2)", "a grid needs single values"),
        ("daso.t_dist=range(a,b)", "cannot be read: values of a sweep are"),
    ],
)
def test_values_that_a_grid_cannot_list_are_a_sentence(command, line, says):
    code, _, err, jobs = command("-m", "experiment=quickstart", line, "plan=true")
    assert (code, jobs, err.count("\n")) == (2, [], 1)
    assert err.startswith(line)
    assert says in err


@pytest.mark.parametrize("typed", ["sweep.table=8", "sweep.rows=fixmatch", "tune.n_trials=5"])
def test_what_only_sweeps_read_is_refused_for_a_single_run(command, typed):
    code, _, err, jobs = command("experiment=quickstart", typed)
    assert (code, jobs) == (2, [])
    assert err.startswith(f"{typed} is not possible in a single run: only a sweep (-m) with hydra/sweeper=")


@pytest.mark.parametrize(
    "typed", ["hydra/launcher=joblib_gpu", "hydra.sweep.subdir=there", "hydra/sweeper=study", "hydra.sweep.dir=there"]
)
def test_what_hydra_does_with_sweeps_alone_is_refused_for_a_single_run(command, typed):
    code, _, err, jobs = command("experiment=quickstart", typed)
    assert (code, jobs) == (2, [])
    assert err == f"{typed} is not possible in a single run: only a sweep reads it, so write -m as well.\n"


def test_a_launcher_that_an_option_file_names_waits_for_a_sweep(command, tmp_path):
    (tmp_path / "experiment").mkdir()
    file = "# @package _global_\ndefaults: [quickstart, override /hydra/launcher: joblib, _self_]\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(file)
    code, *_, jobs = command("--config-dir", str(tmp_path), "experiment=mine", f"out_root={tmp_path / 'out'}")
    assert (code, len(jobs)) == (0, 1)
