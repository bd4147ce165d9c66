"""Runs that others are built on are jobs of the sweep: they come first, once, and are seen."""

import json
import re
import sys
import threading
import time

import pytest

from daso.errors import RunFailed
from daso.outputs.files import write_json
from daso.outputs.rundir import RunDir
from daso.run.stages import prerequisites
from daso.sweep import jobs
from daso.sweep.graph import Job, ancestors, in_order, needed, reached, waves, with_stages
from daso.sweep.lines import Named
from daso.sweep.session import FAILED, FINISHED, End, Session
from tests.compose import config_of

CRT = ["experiment=quickstart", "daso=none", "algorithm=supervised_crt"]
DARP = ["experiment=quickstart", "daso=none", "imb.gamma_u=5"]  # whose classes have to be estimated


def done(config, provenance=None):
    """What a finished run leaves, as far as a sweep looks."""
    run = RunDir(config.out_root, config.run_key)
    run.path.mkdir(parents=True, exist_ok=True)
    write_json(run.summary, {"test/top1_median20": 50.0})
    run.mark_done()
    return 50.0


def kinds(ran):
    return [f"{config.algorithm.name} {config.protocol.name}" for config, _ in ran]


def test_the_first_stage_of_one_job_is_another_job_of_the_sweep(sweep):
    code, out, _, ran = sweep(*CRT[:2], "algorithm=supervised_crt,supervised", run=done)
    assert (code, kinds(ran)) == (0, ["supervised none", "supervised crt"])
    assert "2 of 2 jobs finished" in out


def test_a_stage_that_nobody_asked_for_is_a_job_of_its_own(sweep):
    code, out, _, ran = sweep(*CRT, "seed=0,1", run=done)
    assert code == 0
    assert kinds(ran) == ["supervised none", "supervised crt"] * 2
    assert [p.name for _, p in ran] == ["first stage of seed=0", "seed=0", "first stage of seed=1", "seed=1"]
    assert [p.awaited for _, p in ran] == [True, False] * 2
    assert [bool(p.choices) for _, p in ran] == [False, True] * 2
    assert "4 of 4 jobs finished" in out
    assert out.index("first stage of seed=0") < out.index(" seed=0 ") < out.index("first stage of seed=1")


def test_rows_that_share_an_estimate_make_it_once(sweep):
    code, out, _, ran = sweep(*DARP, "algorithm=fixmatch_darp,remixmatch_darp,fixmatch", run=done)
    assert code == 0
    assert kinds(ran) == ["supervised estimate", "fixmatch none", "fixmatch none", "remixmatch none"]
    assert [c.darp.name for c, _ in ran] == ["none", "none", "darp", "darp"]  # who waits for nobody goes before
    assert "estimate for fixmatch_darp and 1 more" in out


def test_stages_of_stages_come_before_both(sweep):
    _, _, _, ran = sweep(*DARP, "algorithm=fixmatch_darp", "protocol=crt", run=done)
    assert kinds(ran) == ["supervised estimate", "fixmatch none", "fixmatch crt"]


def test_a_job_whose_stage_failed_says_so_and_trains_nothing(sweep):
    def run(config, provenance):
        if config.seed == 0:
            raise RunFailed("The loss is nan.")
        return done(config)

    code, out, err, ran = sweep(*CRT, "seed=0,1", run=run)
    stage = ran[0][0].run_key
    assert (code, len(ran)) == (1, 3)
    assert "2 of 4 jobs finished" in out
    assert f"It is built on run {stage}, which failed: The loss is nan." in " ".join(out.split())
    assert f"It is built on run {stage}" in err


def test_what_is_finished_or_begun_needs_no_stage_anymore(sweep, tmp_path):
    config = config_of(*CRT, f"out_root={tmp_path / 'out'}", "track=none")
    folder = RunDir(config.out_root, config.run_key)
    folder.path.mkdir(parents=True)
    folder.checkpoint.touch()
    assert kinds(sweep(*CRT, run=done)[3]) == ["supervised crt"]
    assert sweep(*CRT, run=done)[3] == []
    assert "1: 1 done" in sweep(*CRT, "plan=true")[1]


def test_a_finished_stage_is_seen_as_such(sweep, tmp_path):
    config = config_of(*CRT, f"out_root={tmp_path / 'out'}", "track=none")
    done(prerequisites(config)[0])
    _, out, _, ran = sweep(*CRT, run=done)
    assert kinds(ran) == ["supervised crt"]
    assert "2 of 2 jobs finished" in out
    assert "finished before" in out


def test_a_plan_names_the_stages_in_the_order_of_training(sweep):
    _, out, _, _ = sweep(*CRT, "seed=0,1", "plan=full")
    assert "4: 4 new" in out
    assert out.index("first stage of seed=0") < out.index(" seed=0 ") < out.index("first stage of seed=1")


def test_plan_and_table_list_jobs_in_the_order_in_which_they_run(sweep):
    grid = ("experiment=quickstart", "algorithm=nothing,fixmatch,supervised", "daso=none", "seed=1,0")
    possible = [f"{row} seed={seed}" for seed in (1, 0) for row in ("fixmatch", "supervised")]
    for out in sweep(*grid, "plan=full")[1], sweep(*grid, run=done)[1]:
        rows = re.findall(r"│ (\w+ seed=\d)", out)
        assert rows == [*possible, "nothing seed=1", "nothing seed=0"]


def test_a_named_run_that_is_not_finished_refuses_the_job_that_names_it(sweep):
    code, out, _, ran = sweep(*CRT, "protocol.from_run='',0123", run=done)
    assert (code, kinds(ran)) == (1, ["supervised none", "supervised crt"])
    assert "is no finished run" in " ".join(out.split())


def test_the_trials_of_a_study_share_their_stages(sweep):
    search = ["experiment=tune_quickstart", "algorithm=fixmatch_darp", "imb.gamma_u=5", "tune.n_trials=2"]
    code, out, _, ran = sweep(*search, "daso=paper", run=lambda config, provenance: done(config))
    assert (code, kinds(ran)) == (0, ["supervised estimate", "fixmatch none", "fixmatch none"])
    assert "estimate for trial 0 seed=0" in out
    plan = sweep(*search, "daso=paper", "tune.study=other", "tune.seeds=[0,1]", "plan=true")[1]
    assert "2 trials are to come: 4 runs of 100 steps, built on 1 other run," in plan  # the second seed's


def test_a_sweep_of_the_same_runs_is_the_same_in_mlflow_whether_its_stages_are_there(sweep, monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr("daso.track.sweeps.start", lambda sweep: shown.append(sweep.key))
    monkeypatch.setattr("daso.track.sweeps.finish", lambda *args: None)
    tracked = [*CRT, "track=mlflow", f"track.uri=sqlite:///{tmp_path}/m.db"]
    for _ in range(2):
        assert sweep(*tracked, run=done)[0] == 0
    assert len(shown) == 2
    assert len(set(shown)) == 1


def test_jobs_one_after_the_other_are_named_in_each_line_too(sweep):
    _, out, _, _ = sweep(*CRT[:2], run=lambda config, provenance: float(isinstance(sys.stdout, Named)))
    assert "1.00" in out


def job(key, *needs, seed=0):
    def config(number):
        return config_of(*CRT, "track=none", f"optim.lr=0.0{number + 1}", f"seed={seed}")

    return Job([], config(key), needs=[config(need) for need in needs])


def test_stages_are_started_first_then_what_waits_for_nobody_then_the_rest():
    last, free, stage, middle = job(3, 2), job(0), job(1), job(2, 1)
    assert in_order([last, free, stage, middle, free]) == [stage, free, middle, last]
    other = job(0, seed=1)
    assert in_order([last, other, free, stage, middle]) == [stage, free, middle, last, other]
    assert ancestors([last, stage, middle])[last.key] == [stage.key, middle.key]
    assert waves({"a": [], "b": ["a", "gone"], "c": ["b", "a"], "d": ["gone"]}) == {"a": 0, "b": 1, "c": 2, "d": 0}


def test_a_job_is_told_by_its_name_which_run_it_makes():
    config = config_of(*DARP, "algorithm=fixmatch_darp", "protocol=crt", "track=none")
    (crt,) = [made for made in with_stages([Job([], config, needs=needed(config))]) if made.asked]
    stages = [made.config for made in with_stages([crt])]
    assert len(stages) == 3
    for stage in stages:
        assert reached(config, stage.run_key) == stage
    assert reached(config, "train") == config


@pytest.fixture
def waiting(tmp_path, monkeypatch):
    """A session in which run `b` is built on run `a`, and a worker that waits for it; gives what it waits for."""
    session = Session.start(tmp_path)
    session.share({"needs": {"b": ["a"]}})
    monkeypatch.setattr(jobs, "is_worker", lambda: True)
    monkeypatch.setattr(jobs, "POLL", 0.01)
    monkeypatch.setattr(jobs, "QUIET", 0.2)

    def wait(meanwhile):
        found = []
        thread = threading.Thread(target=lambda: found.append(jobs.spoiled_stage(session, "b")))
        thread.start()
        time.sleep(0.1)
        assert thread.is_alive()
        meanwhile(session)
        thread.join(5)
        assert not thread.is_alive()
        return found[0]

    yield wait
    session.close()


def test_a_worker_waits_for_the_end_of_a_stage(waiting):
    assert waiting(lambda session: session.end(0, End([], FINISHED, "a"))) is None


def test_a_worker_learns_that_a_stage_failed(waiting):
    failed = End([], FAILED, "a", None, "The loss is nan.")
    assert waiting(lambda session: session.end(0, failed)) == failed


def test_a_worker_waits_no_longer_than_the_sweep_goes_on(waiting):
    assert waiting(lambda session: session.ask_to_stop(15)) is None


def test_a_worker_waits_while_somebody_works_on_the_stage_and_not_for_ever(waiting):
    def gone(session):
        session.begin(0, "a")
        time.sleep(0.4)  # longer than nobody would be waited for
        assert session.busy() == {"a"}
        session.begin(0, "a")
        (session.folder / "000000.start").write_text(json.dumps({"host": "", "pid": 0, "run": "other"}))

    began = time.monotonic()
    assert waiting(gone) is None
    assert time.monotonic() - began > 0.5
