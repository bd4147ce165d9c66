"""`python -m daso.runs watch`: a sweep as its files tell of it, to whoever looks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from daso import runs
from daso.outputs.files import write_json
from daso.outputs.rundir import RunDir
from daso.sweep.session import FAILED, FINISHED, STOPPED, End, Session
from daso.sweep.watch import Seen, SweepSeen, look, screen
from daso.track.jsonl import Journal

ROOT = Path(__file__).resolve().parents[2]


def journal(run, step, speed):
    run.path.mkdir(parents=True, exist_ok=True)
    rows = Journal(run.metrics)
    rows.append("train", step, {"time/steps_per_second": speed})
    rows.append("eval", step, {"test/top1_median20": 60.5, "test/bacc": 61.0, "test/top1": 1.0})
    rows.close()


@pytest.fixture
def session(tmp_path):
    """A sweep of five jobs: finished before, finished, failed, under way, planned."""
    labels = {key: f"method seed={number}" for number, key in enumerate(("aa", "bb", "cc", "dd", "ee"))}
    session = Session.start(tmp_path)
    session.share({"labels": labels, "steps": dict.fromkeys(labels, 1000), "before": ["aa"], "name": "table1: seed"})
    for key in ("aa", "bb"):
        run = RunDir(tmp_path, key)
        run.path.mkdir()
        write_json(run.summary, {"run_key": key, "test/top1_median20": 70.25, "test/bacc": 71.0})
        run.mark_done()
    session.end(1, End([], FINISHED, "bb", 70.25))
    session.end(2, End([], FAILED, "cc", None, "The loss is not finite."))
    journal(RunDir(tmp_path, "dd"), 400, 20.0)
    session.begin(3, "dd")
    yield session
    session.close()


def test_every_job_is_seen_with_state_step_speed_result_and_time_left(session, tmp_path):
    (sweep,) = look(tmp_path)
    assert (sweep.name, sweep.alive) == ("table1: seed", True)
    assert [job.state for job in sweep.jobs] == ["finished before", FINISHED, FAILED, "running", "planned"]
    running = sweep.jobs[3]
    assert (running.step, running.steps, running.speed, running.left) == (400, 1000, 20.0, 30.0)
    assert running.results == (60.5, 61.0)
    assert sweep.jobs[1].results == (70.25, 71.0)
    assert sweep.jobs[2].reason == "The loss is not finite."


def test_a_look_shows_all_of_it_what_runs_first(session, tmp_path, capsys):
    assert runs.main(["watch", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "table1: seed: 1 running, 1 failed, 1 planned, 1 finished, 1 finished before" in out
    rows = [line for line in out.splitlines() if "method seed=" in line]
    assert "method seed=3" in rows[0]
    assert "400 of 1,000" in rows[0]
    assert "30s" in rows[0]
    assert len(rows) == 5
    assert all(line == line.rstrip() for line in out.splitlines())


SWEEP = SweepSeen(
    "quickstart: algorithm, optim.lr, seed",
    True,
    [
        *(Seen(f"of all fixmatch_daso lr=0.{n} seed={n}", "planned", 0, 50_000) for n in range(10, 40)),
        *(Seen(f"of all fixmatch_la lr=0.{n} seed={n}", FINISHED, 50_000, 50_000) for n in range(9)),
        Seen("of all fixmatch lr=0.03 seed=7", "running", 12_345, 50_000, 21.5, (60.5, 61.0)),
        Seen("of all fixmatch lr=1e13 seed=0", FAILED, 50, 50_000, reason="The loss is not finite at step 50: " * 9),
        Seen("of all fixmatch_daso_with_a_label_that_is_as_wide_as_screens seed=8", "planned", 0, 50_000),
    ],
)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_screen_has_a_line_a_job_and_counts_the_rest(width):
    lines = [line.plain for line in screen([SWEEP], width, 23)]
    assert len(lines) == 23
    assert max(map(len, lines)) <= width
    assert lines[0].endswith("seed: 1 running, 1 failed, 31 planned, 9 finished") or width < 80
    assert lines[2].startswith("fixmatch lr=0.03 seed=7")  # without the words that all share
    assert "12,345 of 50,000" in lines[2]
    assert lines[3].split()[:4] == ["fixmatch", "lr=1e13", "seed=0", "failed"]
    assert ("steps/s" in lines[1], "61.00" in lines[2], "29m11s" in lines[2]) == (width > 80, width > 80, width > 60)
    assert lines[3].endswith("…")
    assert lines[-1] == "... and 13 planned, 9 finished: --once lists all"


def test_a_screen_of_several_sweeps_is_no_higher_than_it_may_be():
    for sweeps in range(1, 12):
        lines = screen([SWEEP._replace(alive=False)] * sweeps, 80, 23)
        assert len(lines) <= 23
    (*_, last) = screen([SWEEP], 80, 23, most=2)
    assert last.plain.startswith("... and 31 planned")


def test_a_job_that_ended_after_its_sweep_was_killed_is_called_so(session, tmp_path):
    run = RunDir(tmp_path, "ee")
    with run.lock():
        run.mark_failed("The loss is not finite.")
    assert look(tmp_path)[0].jobs[4].state == "planned"  # of a sweep that is to start it again
    session._alive.release(force=True)
    job = look(tmp_path)[0].jobs[4]
    assert (job.state, job.reason) == (FAILED, "The loss is not finite.")


def test_a_job_that_a_killed_sweep_left_half_way_is_stopped_at_the_step_that_it_goes_on_from(session, tmp_path):
    run = RunDir(tmp_path, "ee")
    journal(run, 150, 20.0)
    torch.save({"format": 1, "run_key": "ee", "step": 195}, run.checkpoint)
    session._alive.release(force=True)
    with run.lock():  # its process, an orphan, still writes its checkpoint
        assert look(tmp_path)[0].jobs[4].state == "running"
    job = look(tmp_path)[0].jobs[4]
    assert (job.state, job.step) == (STOPPED, 195)


def test_a_job_that_has_told_nothing_yet_is_before_its_first_row(session, tmp_path, capsys):
    run = RunDir(tmp_path, "ee")
    run.path.mkdir()
    session.begin(4, "ee")
    for config, said in (("", " 0 of 1,000"), ("run_key: ee\ntrain: {log_every: 50, steps: 1000}\n", " <50 of 1,000")):
        run.resolved.write_text(config)
        runs.main(["watch", "--root", str(tmp_path)])
        assert said in next(line for line in capsys.readouterr().out.splitlines() if "method seed=4" in line)


def test_a_sweep_that_was_killed_is_called_so(session, tmp_path, capsys):
    session._alive.release(force=True)
    runs.main(["watch", "--root", str(tmp_path)])
    assert "the process that started it is gone: its command again goes on" in capsys.readouterr().out


def test_a_run_of_no_sweep_is_seen_as_well(tmp_path, capsys):
    run = RunDir(tmp_path, "ff")
    with run.lock():
        journal(run, 30, 2.0)
        write_json(run.card, {"name": "digits fixmatch", "tags": {}, "steps": 90})
        runs.main(["watch", "--root", str(tmp_path), "--once"])
    out = capsys.readouterr().out
    assert "runs of no sweep: 1 running" in out
    assert "30 of 90" in out


def test_where_nothing_is_under_way_the_list_is_named(tmp_path, capsys):
    assert runs.main(["watch", "--root", str(tmp_path)]) == 0
    assert "No sweep and no run is under way" in capsys.readouterr().out
    assert runs.main(["watch", "--root", str(tmp_path / "none")]) == 2


def test_to_watch_needs_nothing_heavy(session, tmp_path):
    code = f"import sys; from daso import runs; runs.main(['watch', '--root', {str(tmp_path)!r}]); "
    code += "sys.exit(bool({'torch', 'mlflow', 'hydra', 'omegaconf', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_sweep_writes_what_is_watched(session):
    assert json.loads((session.folder / "shared").read_text())["steps"]["aa"] == 1000
