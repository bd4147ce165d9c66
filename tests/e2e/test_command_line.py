"""The command line, in processes of its own."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daso.machine.streams import STARTS
from daso.outputs.rundir import RunDir
from daso.track.jsonl import TIME, read
from tests import warm
from tests.compose import tiny

TRAIN = str(Path(__file__).resolve().parents[2] / "train.py")
SHORT = ["train.steps=20", "train.eval_every=20", "daso.warmup_steps=10"]
TINY = ["experiment=quickstart", "track=none", "train.log_every=5", "train.checkpoint_every=10", "daso.update_every=10"]
TINY += ["train.batch_size=8"]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, TRAIN, *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str] | warm.Process) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def measured(out_root: Path, key: str) -> list[dict[str, object]]:
    rows = read(RunDir(out_root, key).metrics)
    return [{k: v for k, v in row.items() if not k.startswith((TIME, "time/", "memory/"))} for row in rows]


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_the_second_job_of_a_sweep_equals_the_same_job_alone(tmp_path, launcher):
    jobs = ["algorithm=fixmatch,fixmatch_daso", f"hydra/launcher={launcher}"]
    jobs += ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    sweep = warm.start(tmp_path, "-m", *TINY, *SHORT, "out_root=sweep", *jobs)
    alone = warm.start(tmp_path, *TINY, *SHORT, "out_root=alone", "algorithm=fixmatch_daso")
    code, out, _ = finish(alone)
    assert code == 0
    (log,) = (tmp_path / "alone").glob("*/console.log")
    assert log.read_text().splitlines()[-3:] == out.splitlines()[-3:]  # the folder, and what to do next
    code, out, _ = finish(sweep)
    assert code == 0
    assert "2 of 2 jobs finished" in out
    key = tiny(*SHORT, TINY[-1], "algorithm=fixmatch_daso").run_key
    assert measured(tmp_path / "sweep", key) == measured(tmp_path / "alone", key)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_writes_a_checkpoint_and_sets_the_exit_code(tmp_path, number, code):
    process = warm.start(tmp_path, *TINY, "train.steps=100000", "train.checkpoint_every=100000")
    folders = tmp_path / "outputs"
    for _ in range(600):
        time.sleep(0.05)
        if any(path.stat().st_size for path in folders.glob("*/metrics.jsonl")):
            break
    process.send_signal(number)
    assert finish(process)[0] == code
    assert list(folders.glob("*/checkpoint.pt"))
    assert not list(folders.glob("*/DONE"))


def test_a_run_whose_terminal_is_closed_writes_a_checkpoint(tmp_path):
    child, terminal = pty.fork()
    if not child:
        os.chdir(tmp_path)
        long = ["train.steps=100000", "train.checkpoint_every=100000"]
        os.execv(sys.executable, [sys.executable, TRAIN, *TINY, *long])
    shown = b""
    while b"loss" not in shown:
        shown += os.read(terminal, 4096)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGHUP
    assert list(tmp_path.glob("outputs/*/checkpoint.pt"))


def test_ctrl_c_at_any_instant_of_the_start_leaves_no_traceback(tmp_path):
    for tenths in range(2, 22, 4):
        process = start(tmp_path, *TINY)
        time.sleep(tenths / 10)
        process.send_signal(signal.SIGINT)
        code, _, err = finish(process)
        assert code in (130, -signal.SIGINT)  # a shell calls both 130
        assert err == ""


def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path):
    code, out, err = finish(start(tmp_path, "imb.gama_l=20"))
    assert code == 2
    assert out == ""
    assert err.splitlines() == ["imb.gama_l=20 is not possible: there is no key imb.gama_l; did you mean imb.gamma_l?"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("lines", [0, 1])
def test_a_reader_that_has_enough_is_nothing_to_the_program(tmp_path, lines):
    process = start(tmp_path, "-m", "experiment=quickstart", "seed=range(200)", "plan=true")
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)  # less than the plan, which thus waits for the reader
    for _ in range(lines):
        process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == f"{STARTS}\n"
    process.stderr.close()
    assert process.wait() == 0


def test_a_run_on_an_exported_split_has_the_numbers_of_the_run_that_draws_it(tmp_path):
    split = [sys.executable, "-m", "daso.splits", "experiment=quickstart", "out=splits"]
    subprocess.run(split, cwd=tmp_path, check=True, capture_output=True)
    jobs = [warm.start(tmp_path, *TINY, *SHORT, *extra) for extra in ([], ["dataset.splits=splits"])]
    assert [finish(job)[0] for job in jobs] == [0, 0]
    one, other = (measured(tmp_path / "outputs", path.name) for path in (tmp_path / "outputs").iterdir())
    assert one == other


def test_a_failed_run_is_one_sentence_and_exit_code_1(tmp_path):
    code, _, err = finish(warm.start(tmp_path, *TINY, *SHORT, "optim.lr=1e12"))
    assert code == 1
    assert "The loss is not finite at step" in err
    assert "Traceback" not in err


def test_the_report_finds_the_sweepers_from_any_folder(tmp_path):
    # an editable installation puts the package on the path, not the checkout around it
    (tmp_path / "daso").symlink_to(Path(TRAIN).parent / "daso")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-m", "daso.report", "table=5", "train.steps=50000"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    found = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=120)
    nothing = "No own number is shown: there is no folder outputs; runs= names the folders of yours."
    assert (found.returncode, {*found.stderr.splitlines()} - {STARTS}) == (0, {nothing})
    assert "train.steps=50000" in found.stdout
