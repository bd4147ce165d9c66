"""Whatever is typed as a value, the program ends with a plan or with one sentence."""

import importlib
import itertools
from pathlib import Path

import pytest

from tests.compose import config_of

HUGE = str(10**23)
ODD = [
    # what is typed, and what the sentence must say
    *[([f"{key}={HUGE}"], [f"{key}={HUGE}", says]) for key, says in (
        ("daso.queue_size", "65536"),
        ("dataset.cutout", "0 to 64"),
        ("train.batch_size", "65536"),
        ("train.steps", "below 2^32"),
        ("train.eval_every", "below 2^32"),
        ("train.mu", "1024"),
        ("model.width", "1 to 256"),
        ("dataset.resolution", "1024 at most"),
        ("jobs_per_device", "below 2^32"),
    )],
    (["darp=paper", "algorithm=fixmatch", f"darp.iterations={HUGE}"], ["1 to 10000"]),
    (["force=-1"], ["force=-1", "true or false"]),
    (["train.deterministic=5"], ["train.deterministic=5", "true or false"]),
    (["train.deterministic=0.5"], ["train.deterministic=0.5", "true or false"]),
    (["out_root=" + "x" * 5000], ["out_root=xxx", "255 bytes"]),
    (["out_root=" + "/".join(["x" * 200] * 30)], ["3900"]),
    (["dataset.root=" + "x" * 300], ["dataset.root=xxx", "255 bytes"]),
    (["out_root='a\nb'"], ["out_root=", "printable"]),
    (["out_root='~nobody-at-all/x'"], ["there is no user nobody-at-all"]),
    (["algorithm=[]"], ["algorithm=[]", "--help"]),
    (["dataset=[cifar10]"], ["dataset=[cifar10]", "cifar10, cifar100"]),
    (["dataset=${seed}"], ["dataset=${seed}", "cifar10, cifar100"]),
    (["hydra/sweeper=${nowhere}"], ["hydra/sweeper=${nowhere}", "options are"]),
    (["experiment=1e309"], ["experiment=1e309"]),
    (["~align=true"], ["~align=true", "write ~align"]),
    (["abc=" + "x" * 5000], ["abc=xxx", "none, paper"]),
    (["device=cuda:99999999999999999999"], ["cuda:1"]),
    (["--experimental-rerun", "x"], ["--experimental-rerun x", "the same line again"]),
    (["--shell-completion"], ["install=bash"]),
    (["--resolve"], ["--cfg job"]),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "says"), ODD, ids=[" ".join(typed)[:60] for typed, _ in ODD])
def test_a_value_without_sense_is_refused_in_one_sentence(command, typed, says):
    code, _, err, jobs = command(*typed)
    assert (code, jobs) == (2, [])
    assert err.count("\n") == 1, err
    assert all(part in err for part in says), err
    assert "_dummy_" not in err


def test_a_home_folder_is_meant_by_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = config_of("out_root='~/runs'", "dataset.root='~'", "dataset.splits=''")
    assert (config.out_root, config.dataset.root) == (str(tmp_path / "runs"), str(tmp_path))


def test_a_sweep_makes_no_folder_called_tilde(command, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert command("-m", "experiment=quickstart", "track=none", "out_root='~/runs'", "seed=0,1")[0] == 0
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_what_is_typed_is_no_markup(command, tmp_path, sweep):
    code, out, _, _ = command(*sweep, "plan=true", "experiment=quickstart", f"out_root='{tmp_path}/a[/b]c [red]'")
    assert code == 0
    assert "a[/b]c [red]" in out.replace("\n", "")


@pytest.mark.parametrize("seed", range(5))
def test_lines_that_nobody_means_end_with_a_plan_or_a_sentence(monkeypatch, tmp_path, seed):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    monkeypatch.chdir(tmp_path)
    fuzz = importlib.import_module("overrides")
    found = [fuzz.trial(line) for line in itertools.islice(fuzz.lines(seed), 4)]
    assert [fault for fault in found if fault] == []
