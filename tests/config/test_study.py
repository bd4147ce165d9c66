"""A study goes on where it stopped: n_trials is the total, nothing is tried twice, and the test set plays no part."""

import os
import signal
import sqlite3
import time
from contextlib import closing
from functools import partial

import optuna
import pytest
import yaml

from daso.errors import Interrupted, RunFailed, UserError
from daso.machine.signals import StopRequest
from hydra_plugins.daso_study import _owner
from hydra_plugins.daso_study._search import ask, complete, queue_again
from hydra_plugins.daso_study._space import parse

optuna.logging.set_verbosity(optuna.logging.ERROR)


def value(config, provenance=None):
    """A smooth function of what is searched; best at t_dist = 1."""
    return 90.0 - (config.daso.t_dist - 1) ** 2 + config.seed


@pytest.fixture
def search(sweep):
    def call(*arguments, run=value, **machine):
        return sweep("experiment=tune_quickstart", "tune.n_trials=3", *arguments, run=run, **machine)

    return call


@pytest.fixture
def trials(tmp_path):
    """The trials of the study in its storage, by number."""

    def call(name="quickstart", storage=None):
        storage = storage or f"sqlite:///{tmp_path}/out/studies.db"
        return optuna.load_study(study_name=name, storage=storage).trials

    return call


def states(trials):
    return [trial.state.name for trial in trials]


def settings(jobs):
    return [(c.daso.t_dist, c.daso.t_proto, c.daso.align_weight, c.daso.warmup_steps, c.seed) for c, _ in jobs]


def test_a_study_searches_four_knobs_within_their_ranges(search, trials):
    code, out, _, jobs = search()
    assert code == 0
    assert states(trials()) == ["COMPLETE"] * 3
    assert len(set(settings(jobs))) == 3
    assert all(0.1 <= c.daso.t_dist <= 2 and 0.01 <= c.daso.t_proto <= 0.5 for c, _ in jobs)
    assert all(0 <= c.daso.align_weight <= 2 and c.daso.warmup_steps in (20, 40, 60) for c, _ in jobs)
    assert "3 of 3 trials are complete" in out


def test_values_that_leave_others_without_effect_are_named_before_the_search_and_not_in_a_study_without_them(search):
    _, _, err, _ = search("train.steps=60", "plan=true")
    assert err.splitlines()[-1] == (
        "With daso.warmup_steps=60 no value of daso.t_dist, daso.t_proto, daso.align_weight changes a run: "
        "only a phase of more than daso.warmup_steps steps reads them."
    )
    assert "no value of" not in search("plan=true")[2]


def test_a_trial_with_the_runs_of_another_one_says_whose(search):
    few = ["daso.t_proto=0.1", "daso.align_weight=1", "daso.warmup_steps=choice(20,60)"]
    out = search("train.steps=60", "tune.n_trials=5", *few)[1]
    alike = [line for line in out.splitlines() if line.startswith("Trial ") and "by the runs of trial" in line]
    warm = [line for line in out.splitlines() if line.startswith("Trial ") and "warmup_steps=60" in line]
    assert alike == warm[1:] != []


def test_n_trials_is_the_total_over_all_starts(search, trials):
    _, _, _, first = search("tune.n_trials=1")
    _, _, _, second = search("tune.n_trials=3")
    code, out, _, third = search("tune.n_trials=3")
    assert [code, len(first), len(second), len(third)] == [0, 1, 2, 0]
    assert "3 of 3 trials are complete" in out
    assert len(set(settings(first + second))) == 3
    assert [trial.number for trial in trials()] == list(range(3))


def test_a_study_in_two_parts_tries_what_one_in_one_part_does(search, trials):
    search("tune.n_trials=1")
    search("tune.n_trials=2")
    search("tune.n_trials=2", "tune.storage=sqlite:///whole.db")
    whole = trials(storage="sqlite:///whole.db")
    assert [trial.params for trial in trials()] == [trial.params for trial in whole]


def test_a_study_tries_the_same_wherever_it_was_interrupted():
    space, _ = parse(["a=interval(0.0,1)", "b=tag(log,interval(0.01,1))", "c=range(0,60,20)"])

    def searched(interrupted_in=(), killed_before=()):
        """The values of ten trials, of which six follow from a model of the first four."""
        sampler = partial(optuna.samplers.TPESampler, n_startup_trials=4, multivariate=True, constant_liar=True)
        study = optuna.create_study(study_name="s", direction="maximize")
        interrupted_in = list(interrupted_in)
        while (done := len(complete(study))) < 10:
            queue_again(study, space)
            if done in killed_before:  # while its values were drawn
                study.ask().suggest_uniform("a", 0.0, 1.0)
                queue_again(study, space)
            trial = ask(study, space, sampler)
            if done in interrupted_in:
                interrupted_in.remove(done)
                continue
            if done == 6 and not any(trial.state.name == "FAIL" and "r" in trial.user_attrs for trial in study.trials):
                trial.set_user_attr("r", "its run failed")
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            study.tell(trial, trial.params["a"] - trial.params["b"] + trial.params["c"] / 60)
        return [trial.params for trial in complete(study)]

    whole = searched()
    assert len({tuple(params.values()) for params in whole}) == 10
    assert searched(interrupted_in=(0, 3, 3, 5, 6, 8), killed_before=(2, 7)) == whole


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path, request):
    """In a folder of its own; figures, which take longer than the search, are drawn where a test asks for them."""
    monkeypatch.chdir(tmp_path)
    if "figures" not in request.fixturenames:
        monkeypatch.setattr("daso.report.tuning.figures", lambda study, folder: [])


@pytest.fixture
def figures():
    """Drawn."""


def test_a_stopped_trial_is_ended_and_its_values_tried_again(search, trials):
    def stop(config, provenance):
        os.kill(os.getppid(), signal.SIGTERM)
        signal.pause()

    code, *_ = search(run=stop)
    assert code == 128 + signal.SIGTERM
    assert states(trials()) == ["RUNNING"]
    code, _, _, jobs = search("tune.n_trials=2")
    assert code == 0
    assert states(trials()) == ["FAIL"] + ["COMPLETE"] * 2
    assert trials()[0].params == trials()[1].params
    assert len(set(settings(jobs))) == 2


@pytest.fixture(params=["a file", "a server"])
def database(request, tmp_path, monkeypatch):
    """A database that is opened as a file, and one that cannot be locked: SQLite's URI stands for a server's."""
    for name, seconds in [("PATIENCE", 0.2), ("BEAT", 0.3), ("SILENCE", 1.5), ("SETTLE", 0.2)]:
        monkeypatch.setattr(_owner, name, seconds)
    path = tmp_path / "shared.db"
    return f"sqlite:///{path}" if request.param == "a file" else f"sqlite:///file:{path}?uri=true"


def test_a_study_is_searched_by_one_process_whatever_its_folder(search, trials, database):
    opened = lambda: optuna.create_study(storage=database, study_name="quickstart", direction="maximize")  # noqa: E731
    with _owner.alone(database, "quickstart", opened) as study:
        study.ask()
        code, _, err, jobs = search(f"tune.storage='{database}'", "out_root=elsewhere")
        assert (code, jobs, err.count("\n")) == (2, [], 1)
        assert "tune.study=quickstart is not possible now: " in err
        assert states(trials(storage=database)) == ["RUNNING"]
        assert search(f"tune.storage='{database}'", "plan=true")[0] == 0
    code, _, _, jobs = search(f"tune.storage='{database}'", "tune.n_trials=1", "out_root=elsewhere")
    assert (code, len(jobs)) == (0, 1)
    assert states(trials(storage=database)) == ["FAIL", "COMPLETE"]


def test_a_study_that_could_not_be_opened_is_free_again(tmp_path):
    def broken():
        raise UserError("broken")

    storage = f"sqlite:///{tmp_path}/studies.db"
    with pytest.raises(UserError, match="broken") as kept, _owner.alone(storage, "quickstart", broken):
        pass
    with _owner.alone(storage, "quickstart", lambda: "open") as study:  # while the error still holds its frames
        assert (study, str(kept.value)) == ("open", "broken")


def test_a_study_whose_owner_fell_silent_is_taken_over(search, trials, database):
    study = optuna.create_study(storage=database, study_name="quickstart", direction="maximize")
    study.set_user_attr(_owner.OWNER, {"host": "gone", "pid": 1, "token": "x", "beats": 7})
    code, _, _, jobs = search(f"tune.storage='{database}'", "tune.n_trials=1")
    assert (code, len(jobs)) == (0, 1)
    assert states(trials(storage=database)) == ["COMPLETE"]


@pytest.mark.parametrize("database", ["a server"], indirect=True)
def test_who_loses_a_study_stops(search, database):
    def lose(config, provenance):
        mine = optuna.load_study(study_name="quickstart", storage=database)
        with StopRequest() as stop:
            for beat in range(600):
                if beat % 50 == 0:  # again and again, as an owner does: one sign may fall into the other's own
                    mine.set_user_attr(_owner.OWNER, {"host": "h", "pid": 1, "token": "x", "beats": beat})
                if stop() is not None:
                    raise Interrupted(stop())
                time.sleep(0.1)
        return value(config)

    code, _, err, jobs = search(f"tune.storage='{database}'", "tune.n_trials=1", run=lose)
    assert (code, len(jobs)) == (128 + signal.SIGTERM, 1)
    assert "process 1 on h searches it" in err


def test_values_that_were_queued_already_are_not_queued_twice(search, trials, tmp_path):
    _, _, _, first = search("tune.n_trials=1")
    study = optuna.load_study(study_name="quickstart", storage=f"sqlite:///{tmp_path}/out/studies.db")
    trial = study.ask(trials()[0].distributions)
    study.enqueue_trial(trial.params)  # killed between the queue and the end of the trial
    _, _, _, jobs = search("tune.n_trials=2")
    assert len(jobs) == 1
    assert settings(jobs) != settings(first)


def test_the_seeds_are_run_within_a_trial_and_averaged(search, trials):
    _, _, _, jobs = search("tune.seeds=[3,4,8]", "tune.n_trials=2")
    assert [c.seed for c, _ in jobs] == [3, 4, 8] * 2
    assert "seed" not in trials()[0].params
    for trial in trials():
        assert trial.value == pytest.approx(90.0 - (trial.params["daso.t_dist"] - 1) ** 2 + 5)


def test_a_failing_run_fails_its_trial_and_the_next_start_tries_another(search, trials):
    def fail(config, provenance):
        if config.seed == 1 and not os.path.exists("failed"):
            open("failed", "w").close()
            raise RunFailed("The loss is nan.")
        return value(config)

    code, out, *_ = search("tune.seeds=[0,1]", "tune.n_trials=2", run=fail)
    assert code == 1
    assert states(trials()) == ["FAIL", "COMPLETE"]
    assert trials()[0].user_attrs["reason"] == "The loss is nan."
    assert "Trial 0 failed" in out
    code, *_ = search("tune.seeds=[0,1]", "tune.n_trials=2")
    assert states(trials())[2:] == ["COMPLETE"]


def test_a_study_whose_data_are_not_here_says_so_once_and_leaves_nothing(search, trials, tmp_path):
    def lacking(configs, stopping):
        return {config.run_key: "No such data." for config in configs}

    code, _, err, jobs = search(lacking=lacking)
    assert (code, err, jobs) == (2, "No such data.\n", [])
    assert not (tmp_path / "out").exists()
    assert search("tune.n_trials=1")[0] == 0
    assert search(lacking=lacking)[0] == 2
    assert states(trials()) == ["COMPLETE", "RUNNING"]  # the next start queues its values again


def test_several_trials_at_once_are_different(search, trials):
    _, _, _, jobs = search("hydra.sweeper.n_jobs=3", "tune.n_trials=4")
    assert len(set(settings(jobs))) == 4
    assert states(trials()) == ["COMPLETE"] * 4


def test_trials_at_once_that_are_equal_share_a_run(search, trials):
    only = ["daso.t_dist=choice(0.5)", "daso.t_proto=0.1", "daso.align_weight=1", "daso.warmup_steps=20"]
    code, _, _, jobs = search(*only, "hydra.sweeper.n_jobs=3", "tune.seeds=[0,1]")
    assert code == 0
    assert sorted(config.seed for config, _ in jobs) == [0, 1]
    assert [trial.value for trial in trials()] == [pytest.approx(90.25)] * 3


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


def test_a_plan_trains_nothing(search):
    search("tune.n_trials=1")
    code, out, _, jobs = search("plan=true", "tune.n_trials=3", "tune.seeds=[0]")
    assert (code, jobs) == (0, [])
    assert "2 trials are to come: 2 runs of 100 steps" in out


def test_a_plan_of_a_study_that_is_not_there_makes_none(search, tmp_path):
    code, out, _, jobs = search("plan=true")
    assert (code, jobs) == (0, [])
    assert "0 of 3 trials are complete" in out
    assert not (tmp_path / "out").exists()
    search("tune.n_trials=1")
    before = (tmp_path / "out" / "studies.db").read_bytes()
    assert search("plan=true", "tune.study=another")[0] == 0
    assert (tmp_path / "out" / "studies.db").read_bytes() == before


def test_a_study_leaves_its_best_values_a_table_and_figures(search, tmp_path, trials, figures):
    search()
    folder = tmp_path / "out" / "study_quickstart"
    best = max(trials(), key=lambda trial: trial.value)
    assert yaml.safe_load((folder / "best.yaml").read_text())["params"] == best.params
    assert len((folder / "trials.csv").read_text().splitlines()) == 4
    for name in ("history.png", "importance.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
