"""What is not searched: ranges that are none, keys without effect, the test set, a storage that cannot be used."""

import sqlite3
from contextlib import closing

import optuna
import pytest

from hydra_plugins.daso_study._search import SETTING
from tests.config.study.told import settings, states


def test_a_study_whose_data_are_not_here_says_so_once_and_leaves_nothing(search, trials, tmp_path):
    def lacking(configs, stopping):
        return {config.run_key: "No such data." for config in configs}

    code, _, err, jobs = search(lacking=lacking)
    assert (code, err, jobs) == (2, "No such data.\n", [])
    assert not (tmp_path / "out").exists()
    assert search("tune.n_trials=1")[0] == 0
    assert search(lacking=lacking)[0] == 2
    assert states(trials()) == ["COMPLETE", "RUNNING"]  # the next start queues its values again


@pytest.mark.parametrize(
    "arguments", [["dataset.num_valid=0"], ["dataset.num_valid=0,40"]], ids=["none", "none in some trials"]
)
def test_the_test_set_is_never_searched_on(search, arguments):
    code, _, err, jobs = search(*arguments)
    assert (code, jobs) == (2, [])
    assert "validation set" in err
    assert "dataset.num_valid=40" in err


def test_a_seed_is_no_value_to_search(search):
    code, _, err, jobs = search("seed=0,1")
    assert (code, jobs) == (2, [])
    assert "tune.seeds" in err


def test_a_study_of_another_setting_is_refused(search):
    search("tune.n_trials=1")
    code, _, err, jobs = search("tune.n_trials=2", "imb.gamma_l=5")
    assert (code, jobs) == (2, [])
    assert "in that study imb.gamma_l is 10.0 and not 5.0" in err


def test_what_trials_read_belongs_to_the_study_also_where_a_run_without_their_values_does_not_read_it(search):
    search("tune.n_trials=1")
    code, _, err, jobs = search("tune.n_trials=2", "daso.queue_size=32")
    assert (code, jobs) == (2, [])
    assert "in that study daso.queue_size is 256 and not 32" in err


def test_another_setting_is_named_by_what_was_typed_or_chosen_and_not_by_what_follows_from_it(search):
    follows = "daso.update_every='${train.log_every}'"
    search("tune.n_trials=1", follows)
    _, _, err, _ = search("tune.n_trials=2", follows, "train.log_every=10", "train.batch_size=8")
    assert "in that study train.batch_size is 16 and not 8" in err


def test_a_study_of_an_earlier_version_goes_on_with_its_setting_and_no_other(search, tmp_path):
    search("tune.n_trials=1")
    study = optuna.load_study(study_name="quickstart", storage=f"sqlite:///{tmp_path}/out/studies.db")
    now = study.user_attrs[SETTING]
    study.set_user_attr(SETTING, now | {"daso.update_every": "50"})  # as a run without its values has it
    code, _, err, _ = search("tune.n_trials=2", "daso.queue_size=32")
    assert (code, err.count("daso.queue_size is 256 and not 32")) == (2, 1)
    assert search("tune.n_trials=2")[0] == 0
    study = optuna.load_study(study_name="quickstart", storage=f"sqlite:///{tmp_path}/out/studies.db")
    assert study.user_attrs[SETTING] == now


def test_another_range_is_another_study(search, trials):
    search("tune.n_trials=1")
    code, *_ = search("tune.n_trials=1", "daso.t_dist=interval(0.5,1)")
    assert code == 2
    code, *_ = search("tune.n_trials=1", "daso.t_dist=interval(0.5,1)", "tune.study=narrow")
    assert code == 0
    assert 0.5 <= trials("narrow")[0].params["daso.t_dist"] <= 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("daso.t_dist=interval(2,0.1)", "the lower end comes first"),
        ("daso.t_dist=interval(1,1)", "nothing to search between equal ends; set daso.t_dist=1"),
        ("daso.t_dist=interval(0.1,inf)", "its ends are no numbers"),
        ("daso.t_dist=interval(a,b)", "cannot be read: values of a sweep are range(a,b,step), interval(a,b)"),
        ("daso.t_dist=tag(log,interval(0,1))", "a logarithmic scale has a lower end above 0"),
        ("daso.t_dist=tag(lgo,interval(0.1,1))", "the only tag is that of tag(log, interval(a,b))"),
        ("daso.t_dist=tag(log,range(1,10))", "the only tag"),
        ("daso.warmup_steps=interval(20,60.5)", "daso.warmup_steps is a whole number, and so are both ends"),
        ("daso.queue_size=interval(1,1e20)", "its ends are beyond"),
        ("daso.warmup_steps=range(20,60,0)", "its step is 0"),
        ("daso.warmup_steps=range(60,20,-10)", "the lower end comes first"),
        ("daso.warmup_steps=range(20,60,30)", "its steps end at 50"),
        ("daso.t_dist=choice(0.5,0.5)", "it names 0.5 twice"),
        ("daso.t_dist=shuffle(0.5,1)", "leave out shuffle"),
        ("algorithm=glob(zzz*)", "no option fits it"),
    ],
)
def test_a_range_that_is_none_is_a_sentence(command, line, says):
    code, _, err, jobs = command("-m", "experiment=tune_quickstart", line, "plan=true")
    assert (code, jobs, err.count("\n")) == (2, [], 1)
    assert err.startswith(line)
    assert says in err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("daso.t_dist=interval(-1,1)", "daso.t_dist=-1.0 is not possible: a positive temperature"),
        ("daso.tdist=interval(0.1,1)", "did you mean daso.t_dist?"),
        ("daso.blend=choice(dist,foo)", "daso.blend=foo is not possible"),
        ("tune.n_trials=interval(1,5)", "no value of it changes a run"),
        ("out_root=a,b", "no value of it changes a run"),
    ],
)
def test_what_no_run_can_have_or_no_run_would_differ_by_is_not_searched(command, line, says):
    code, _, err, jobs = command("-m", "experiment=tune_quickstart", line, "plan=true")
    assert (code, jobs, err.count("\n")) == (2, [], 1)
    assert err.startswith(f"{line} cannot be searched: ")
    assert says in err


def test_a_key_that_only_another_searched_value_makes_possible_is_searched(search):
    code, *_ = search("daso=none,paper", "plan=true")  # three of the keys are DASO's
    assert code == 0


def test_an_interval_of_whole_numbers_gives_whole_numbers(search):
    _, _, _, jobs = search("daso.warmup_steps=interval(20,60)", "daso.update_every=10", "tune.n_trials=2")
    assert all(config.daso.warmup_steps in range(20, 61) for config, _ in jobs)
    assert len(jobs) == 2


def test_a_fixed_value_is_not_searched(search, trials):
    _, _, _, jobs = search("daso.t_dist=0.3", "tune.n_trials=2")
    assert {c.daso.t_dist for c, _ in jobs} == {0.3}
    assert "daso.t_dist" not in trials()[0].params


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////proc/none/x.db", "mysql+nodriver://user:secret@host/x"])
def test_a_storage_that_cannot_be_used_is_a_sentence_without_the_password(search, url):
    code, _, err, jobs = search(f"tune.storage='{url}'")
    assert (code, jobs) == (2, [])
    assert "tune.storage=" in err
    assert "secret" not in err
    assert "Traceback" not in err


PAGE = 4096  # bytes of SQLite's pages


@pytest.mark.parametrize("table", ["sqlite_master", "studies", "trials"])
def test_a_storage_that_a_power_cut_broke_is_a_sentence_and_its_runs_are_not_lost(search, trials, tmp_path, table):
    _, _, _, before = search("tune.n_trials=1")
    path = tmp_path / "out" / "studies.db"
    with closing(sqlite3.connect(path)) as database:
        roots = dict(database.execute("SELECT name, rootpage FROM sqlite_master"))
    with path.open("r+b") as file:
        file.seek(PAGE * (roots.get(table, 1) - 1))
        file.write(bytes(PAGE))
    code, _, err, jobs = search("tune.n_trials=2")
    assert (code, jobs) == (2, [])
    assert "remove that file, which the run folders can fill again" in err
    path.unlink()
    code, _, _, again = search("tune.n_trials=2")
    assert code == 0
    assert settings(again)[:1] == settings(before)
    assert states(trials()) == ["COMPLETE"] * 2


def test_mlflows_own_database_is_refused(search):
    code, _, err, _ = search("track=mlflow", "track.uri=sqlite:///x.db", "tune.storage=sqlite:///x.db")
    assert code == 2
    assert "choose another database" in err
