"""A study goes on where it stopped: n_trials is the total, nothing is tried twice, and the test set plays no part."""

import os
import signal
from functools import partial

import optuna
import pytest
import yaml

from daso.errors import RunFailed
from hydra_plugins.daso_study._search import ask, complete, queue_again
from hydra_plugins.daso_study._space import parse
from tests.config.study.told import settings, states, value


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


def test_a_plan_trains_nothing(search):
    search("tune.n_trials=1")
    code, out, err, jobs = search("plan=true", "tune.n_trials=3", "tune.seeds=[0]")
    assert (code, jobs) == (0, [])
    assert "optim.gamma" not in err
    assert "Warning: optim.gamma=0.5 has no effect in this run" in search("plan=true", "optim.gamma=0.5")[2]
    assert "2 trials are to come: 2 runs of 100 steps" in out
    assert "1 trial is to come: 1 run of 100 steps" in search("plan=true", "tune.n_trials=2", "tune.seeds=[0]")[1]


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
