"""A sweep goes on past its failing jobs and says at the end how each ended."""

import io
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from daso.errors import Interrupted, RunFailed, UserError
from daso.machine.signals import StopRequest
from daso.sweep.callback import SweepReport
from daso.sweep.graph import Job
from daso.sweep.session import FAILED, FINISHED, REFUSED, STOPPED, End, Session
from daso.sweep.tables import ends_table
from daso.track import sweeps
from daso.track.sweeps import Sweep
from daso.track.terminal import print_table, terminal
from tests.compose import CONF, config_of
from tests.config.jobs import done, finished_run


def test_the_quickstart_comparison_is_every_learner_with_every_seed(sweep):
    code, out, _, jobs = sweep("experiment=quickstart", "algorithm=fixmatch,fixmatch_daso", "seed=0,1")
    assert code == 0
    assert [(config.daso.name, config.seed) for config, _ in jobs] == [
        (d, s) for s in range(2) for d in ("none", "daso")
    ]  # one seed of everything comes first
    assert len({config.run_key for config, _ in jobs}) == 4
    assert all(provenance.in_sweep for _, provenance in jobs)
    assert "4 of 4 jobs finished" in out


def test_what_is_to_be_said_of_settings_is_said_once_of_all_jobs(sweep):
    grid = ("experiment=quickstart", "algorithm=fixmatch,fixmatch_daso", "seed=0,1", "train.steps=100")
    _, _, err, jobs = sweep(*grid)
    first, second = err.splitlines()
    assert first.startswith("Warning: top1_median20 is the median of only 2 evaluations")
    assert first.endswith("train.steps=100.")
    assert second.startswith("Warning: DASO never blends in this run")
    assert second.endswith("(2 runs of 4)")
    assert all(provenance.warned and provenance.warnings for _, provenance in jobs)  # for the logs


@pytest.mark.parametrize("error", [UserError("No such data."), RunFailed("The loss is nan."), ZeroDivisionError("oh")])
def test_a_failing_job_is_reported_and_the_others_run(sweep, error):
    def run(config, provenance):
        if config.seed == 1:
            raise error
        return 90.0

    code, out, err, jobs = sweep("experiment=quickstart", "seed=1,2", run=run)
    assert code == 1
    assert len(jobs) == 2
    assert "1 of 2 jobs finished" in out
    assert str(error) in " ".join(out.split())
    assert all(line.startswith("seed=1 | ") for line in err.splitlines())
    assert err.endswith(f"{error}\n")


def test_a_sweep_says_after_each_job_how_it_stands(sweep):
    grid = ("experiment=quickstart", "algorithm=fixmatch", "seed=0,1,2")
    sweep(*grid[:2], "seed=0", run=finished_run)
    _, out, _, _ = sweep(*grid, run=finished_run)
    said = [line.split(" | ")[1:] for line in out.splitlines() if line.startswith("sweep | ")]
    assert said == [
        ["seed=1 finished 91.00", "done 2 (1 before), running 0, failed 0, left 1; 50s left"],
        ["seed=2 finished 92.00", "done 3 (1 before), running 0, failed 0, left 0"],
    ]


def test_a_failed_and_an_impossible_job_are_counted_as_such(sweep):
    def run(config, provenance):
        if config.seed == 1:
            raise RunFailed("The loss is nan.")
        return finished_run(config, provenance)

    _, out, _, _ = sweep("experiment=quickstart", "algorithm=fixmatch,nothing", "seed=0,1", run=run)
    said = [line for line in out.splitlines() if line.startswith("sweep | ")]
    assert said[-1] == "sweep | fixmatch seed=1 failed | done 1, running 0, failed 3, left 0"


def test_a_sweep_ends_with_means_over_seeds_its_folder_and_what_to_do_next(sweep, tmp_path):
    import mlflow.tracking  # noqa: F401  once, not in the process of each job

    grid = ("experiment=quickstart", "algorithm=fixmatch,fixmatch_daso", "seed=0,1,2", "track=mlflow", "force=true")
    _, out, _, _ = sweep(*grid, f"track.uri=sqlite:///{tmp_path}/m.db", run=finished_run)
    (row,) = [line for line in out.splitlines() if line.startswith("│ fixmatch_daso ")]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["fixmatch_daso", "3", "91.00 ± 1.00", "80.00 ± 0.00"]
    said = " ".join(out.split())
    assert "result: top1_median20 in percent on the test set, median of the last 20 evaluations" in said
    assert "python -m daso.report table=mine metric=bacc select=last has it too" in said
    place = os.path.relpath(tmp_path / "out")
    place = str(tmp_path / "out") if place.startswith("..") else place
    assert out.splitlines()[-3:] == [
        f"folder  {place}",
        f"next    python -m daso.report table=mine runs={place}",
        f"        mlflow ui --backend-store-uri sqlite:///{tmp_path}/m.db",
    ]


def test_a_setting_whose_jobs_failed_or_were_refused_has_a_dash_among_the_means(sweep):
    def run(config, provenance):
        if config.optim.lr > 1 or config.seed == 1:
            raise RunFailed("The loss is nan.")
        return finished_run(config, provenance)

    _, out, _, _ = sweep("experiment=quickstart", "optim.lr=0.03,1e13,-1", "seed=0,1,2", run=run)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│ lr=")]
    assert rows == [
        ["lr=0.03", "2 of 3", "91.00 ± 1.41", "80.00 ± 0.00"],
        ["lr=1e13", "0 of 3", "-", "-"],
        ["lr=-1", "0 of 3", "-", "-"],
    ]


def test_a_table_has_all_rows_of_a_seed_before_the_next_one_and_stages_first(sweep):
    rows = "sweep.rows=supervised,fixmatch,fixmatch_darp"
    settings = ["dataset=digits", "imbalance=digits_default", "model=wrn10_1", "train.steps=20"]
    _, _, _, jobs = sweep("experiment=table1_cifar10", rows, *settings, "seed=1,0", run=finished_run)
    assert [config.seed for config, _ in jobs] == sorted((config.seed for config, _ in jobs), reverse=True)
    assert len(jobs) >= 6


@pytest.mark.parametrize("error", [Interrupted(15), KeyboardInterrupt()])
def test_a_job_that_a_signal_stops_is_reported_and_the_others_run(sweep, error):
    def run(config, provenance):
        if config.seed == 0:
            raise error
        return 90.0

    code, out, _, jobs = sweep("experiment=quickstart", "seed=0,1", run=run)
    assert (code, len(jobs)) == (1, 2)
    assert "STOPPED" in out


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_sweep_stops_the_running_job_and_starts_no_other(sweep, signum):
    parent = os.getpid()

    def run(config, provenance):
        with StopRequest() as stop:
            os.kill(parent, signum)
            for _ in range(100):
                if stop() is not None:
                    raise Interrupted(stop())
                time.sleep(0.1)
        return 90.0

    code, out, err, jobs = sweep("experiment=quickstart", "seed=0,1,2", run=run)
    assert (code, len(jobs)) == (128 + signum, 1)
    assert (out.count("STOPPED"), out.count("not started")) == (3, 2)
    assert f"stopped by {signum.name}" in " ".join(out.split())
    assert "each job writes a checkpoint" in err


@pytest.fixture
def tracked(tmp_path, monkeypatch):
    """What surrounds a sweep that MLflow shows, while no job of it is under way."""
    report = SweepReport()
    report._session, report._sweep = Session.start(tmp_path), Sweep("sqlite:///m.db", "daso", "k")
    monkeypatch.setattr(SweepReport, "_open", report)
    yield report
    report._session.close()


def test_a_signal_before_a_job_has_begun_promises_no_checkpoint(tracked, capsys):
    tracked._stop(signal.SIGINT, None)
    assert capsys.readouterr().err.startswith("Stopping: no job is under way.")


def test_after_a_second_signal_nothing_is_waited_for(tracked, capsys, monkeypatch):
    monkeypatch.setattr(sweeps, "finish", lambda *given: pytest.fail("MLflow is waited for"))
    tracked._stop(signal.SIGINT, None)
    with pytest.raises(Interrupted):
        tracked._stop(signal.SIGINT, None)
    assert SweepReport.close() == 130
    assert "MLflow was not told how the sweep ended: the same command again does it." in capsys.readouterr().err


def test_a_signal_while_mlflow_is_told_how_a_sweep_ended_leaves_that_to_the_next_start(tracked, capsys, monkeypatch):
    def finish(*given):
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(sweeps, "finish", finish)
    tracked._session.ask_to_stop(signal.SIGTERM)
    assert SweepReport.close() == 143
    assert capsys.readouterr().err.splitlines() == [
        "MLflow is told so, which takes some seconds; the same signal again leaves it to the next start.",
        "MLflow was not told how the sweep ended: the same command again does it.",
    ]


def test_hydra_has_no_word_among_the_lines_of_a_sweep(sweep):
    _, out, err, _ = sweep("experiment=quickstart", "seed=0,1", run=finished_run)
    assert "HYDRA" not in out + err
    assert "HYDRA" in sweep("experiment=quickstart", "seed=2", "hydra.verbose=true", run=finished_run)[1]


def test_a_killed_job_is_reported_and_the_others_run(sweep):
    def run(config, provenance):
        if config.seed == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return 90.0

    code, out, _, jobs = sweep("experiment=quickstart", "seed=0,1", run=run)
    assert (code, len(jobs)) == (1, 2)
    assert "killed by SIGKILL, perhaps for its memory" in " ".join(out.split())


def test_fail_fast_ends_the_sweep_with_the_first_failure(sweep):
    def run(config, provenance):
        raise RunFailed("The loss is nan.")

    code, out, _, jobs = sweep("experiment=quickstart", "seed=0,1", "fail_fast=true", run=run)
    assert (code, len(jobs)) == (1, 1)
    assert out.count("FAILED") == out.count("STOPPED") == 1


@pytest.mark.parametrize("failing", [0, 1])
def test_the_exit_code_of_a_sweep_whose_table_cannot_be_shown_is_that_of_its_jobs(sweep, monkeypatch, failing):
    def broken(*given):
        raise ZeroDivisionError("oh")

    def run(config, provenance):
        if failing:
            raise RunFailed("The loss is nan.")
        return 90.0

    monkeypatch.setattr("daso.sweep.callback.print_ends", broken)
    code, _, err, jobs = sweep("experiment=quickstart", "seed=0", run=run)
    assert (code, len(jobs)) == (failing, 1)
    assert "The sweep cannot be shown: oh" in err


def test_a_run_that_another_process_finished_meanwhile_is_finished(sweep):
    def run(config, provenance):
        done(config)
        raise UserError("Run k is taken by process 1 on h.")

    code, out, _, _ = sweep("experiment=quickstart", "seed=0", run=run)
    assert code == 0
    assert "finished by another process" in out


BASIC = ["hydra.sweeper._target_=hydra._internal.core_plugins.basic_sweeper.BasicSweeper"]


def test_no_sweeper_trains_what_is_to_be_planned(sweep):
    _, _, err, jobs = sweep("experiment=quickstart", *BASIC, "+hydra.sweeper.max_batch_size=null", "plan=true")
    assert jobs == []
    assert "plan=true is not possible" in err


def test_hydras_own_sweepers_stay_possible(sweep):
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "daso.t_dist=interval(0.1,1)"]
    assert len(sweep("experiment=quickstart", "hydra/sweeper=basic", "seed=0,1")[3]) == 2
    assert len(sweep("experiment=quickstart", *search)[3]) == 2


def test_what_occurs_twice_runs_once(sweep):
    code, out, _, jobs = sweep("experiment=quickstart", "algorithm=fixmatch", "daso.t_dist=0.3,1.5", "daso=none")
    assert (code, len(jobs)) == (0, 1)
    assert "1 of 1 job finished" in out
    said = (
        "1 of 2 combinations is the run of another one, where what differs (daso.t_dist) changes nothing: t_dist=1.5."
    )
    assert said in out


def test_the_lines_of_an_only_job_need_no_label(sweep):
    def run(config, provenance):
        raise RunFailed("The loss is nan.")

    for seeds, before in (("seed=0", ""), ("seed=0,1", "seed=1 | ")):
        err = sweep("experiment=quickstart", seeds, run=run)[2]
        assert err.splitlines()[-1] == f"{before}The loss is nan."


def test_the_jobs_of_a_sweep_are_the_single_runs_of_their_overrides(sweep):
    _, _, _, jobs = sweep(
        "experiment=quickstart", "algorithm=supervised,fixmatch_la,fixmatch_daso", "optim=ssl,supervised"
    )
    single = [config_of("experiment=quickstart", *provenance.overrides[-2:]) for _, provenance in jobs]
    assert len(jobs) == 6
    assert [config.run_key for config, _ in jobs] == [config.run_key for config in single]


def test_jobs_are_named_by_what_varies(sweep):
    _, _, _, jobs = sweep("experiment=quickstart", "algorithm=fixmatch,fixmatch_daso", "seed=0,1")
    assert [provenance.name for _, provenance in jobs][1:3] == ["fixmatch_daso seed=0", "fixmatch seed=1"]


def test_the_jobs_of_one_start_know_it_and_tell_it_from_another_one(sweep):
    starts = [{provenance.start for _, provenance in sweep("experiment=quickstart", "seed=0,1")[3]} for _ in range(2)]
    assert [len(tokens) for tokens in starts] == [1, 1]
    assert starts[0] != starts[1]
    assert "" not in starts[0] | starts[1]


@pytest.mark.parametrize("later", [FAILED, STOPPED])
@pytest.mark.parametrize("order", [1, -1])
def test_of_two_jobs_that_are_one_run_the_one_that_was_refused_says_least(tmp_path, order, later):
    report = SweepReport()
    report._session = Session.start(tmp_path)
    for number, state in enumerate([FINISHED, REFUSED][::order]):
        report._session.end(number, End([], state, "k"))
    report._jobs = [Job([], replace(config_of("experiment=quickstart", f"out_root={tmp_path}"), run_key="k"))]
    assert [end.state for end in report.ends()] == [FINISHED]
    report._session.end(2, End([], later, "k"))
    assert [end.state for end in report.ends()] == [later]
    report._session.close()


def test_a_sweep_leaves_nothing_beside_the_runs(sweep, tmp_path):
    sweep("experiment=quickstart", "seed=0,1")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    sweep("experiment=quickstart", "seed=0,1")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_table_shows_what_varies():
    grid = ends_table([End(["dataset=digits", f"seed={seed}"], FINISHED, "0" * 12, 1.0) for seed in (0, 1)])
    assert [str(cell) for cell in grid.columns[1].cells] == ["seed=0", "seed=1"]
    assert "top1_median20 in percent" in grid.caption  # what the column of results holds
    for width, lines in ((None, [grid.caption]), (80, textwrap.wrap(grid.caption, 80))):
        out = io.StringIO()
        print_table(grid, terminal(out, width, live=width is not None))
        shown = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in out.getvalue().splitlines()]
        assert shown[-len(lines) :] == lines, shown


def test_a_long_reason_that_jobs_share_stands_below_their_table_once():
    long = "The loss is not finite at step 50, and no checkpoint was written before: a smaller optim.lr helps."
    ends = [End([f"seed={seed}"], FAILED, reason=reason) for seed, reason in enumerate((long, "No disk.", long))]
    grid = ends_table(ends)
    assert [str(cell) for cell in grid.columns[4].cells] == ["see 1", "No disk.", "see 1"]
    assert grid.caption == f"1. {long}"


PROGRAM = """
    import os, sys, time
    import hydra
    from daso.command.guard import guard
    from daso.command.launch import launch
    from daso.errors import RunFailed
    from daso.settings.compose import register

    register()

    def run(config, provenance):
        def tell(what):
            with open("story", "a") as file:
                print(what, config.protocol.name, config.seed, file=file)

        tell("begin")
        if config.seed == 0:
            raise RunFailed("The loss is nan.")
        time.sleep(config.protocol.name == "none")
        tell("end")
        return float(os.getpid() != int(os.environ["PARENT"]))

    @hydra.main(version_base="1.3", config_path=CONF, config_name="config")
    def main(cfg):
        return launch(cfg, run)

    if __name__ == "__main__":
        sys.exit(guard(main))
"""


def test_jobs_in_other_processes_report_as_well_and_wait_for_their_stages(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM).replace("CONF", repr(CONF)))
    launched = (
        f"import os, runpy, sys; os.environ['PARENT'] = str(os.getpid()); sys.path[:0] = [{str(Path(CONF).parent)!r}]"
    )
    launched += f"; sys.argv[0] = {str(program)!r}; runpy.run_path({str(program)!r}, run_name='__main__')"
    job = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.launcher.batch_size=1"]
    job += ["experiment=quickstart", "track=none", "daso=none", "algorithm=supervised_crt", "seed=0,1"]
    done = subprocess.run(
        [sys.executable, "-c", launched, *job], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "2 of 4 jobs finished" in done.stdout
    assert done.stdout.count("│ 1.00") == 2  # both ran outside this process
    assert done.stdout.count("The loss is nan.") == 2  # of the stage, and of the run that is built on it
    story = (tmp_path / "story").read_text().splitlines()
    assert sorted(story) == ["begin crt 1", "begin none 0", "begin none 1", "end crt 1", "end none 1"]
    assert story.index("end none 1") < story.index("begin crt 1")
