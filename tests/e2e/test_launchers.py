"""Parallel jobs each keep to their own device."""

import os
import time

from tests import warm

TINY = ["experiment=quickstart", "track=none", "device=cpu", "train.log_every=5", "daso.warmup_steps=100"]


def affinities(folder):
    """The cores of each process that trains a run, with a place that it neither waits for nor gave back."""
    found = {}
    for lock in folder.glob("*/lock.json"):
        if not lock.with_name("metrics.jsonl").exists() or lock.with_name("DONE").exists():
            continue
        try:
            found[lock.parent.name] = os.sched_getaffinity(int(lock.read_text().split('"pid": ')[1].split(",")[0]))
        except (OSError, IndexError):
            continue
    return found


def test_jobs_at_once_keep_to_different_cores(tmp_path):
    parallel = ["hydra/launcher=joblib_gpu", "hydra.launcher.n_jobs=2", "jobs_per_device=1"]
    budget = ["train.steps=120", "train.eval_every=120", "seed=0,1", "out_root=out"]
    process = warm.start(tmp_path, "-m", *TINY, *budget, *parallel, merged=True)
    seen = []
    while process.poll() is None:
        seen.append(affinities(tmp_path / "out"))
        time.sleep(0.05)
    out = process.communicate()[0]
    assert process.returncode == 0, out
    assert "2 of 2 jobs finished" in out
    together = [cores for cores in seen if len(cores) >= 2]
    assert together or len(os.sched_getaffinity(0)) == 1, "two jobs at once were never seen"
    for cores in together:
        assert all(len(mine) == 1 for mine in cores.values())
        assert len(frozenset.union(*map(frozenset, cores.values()))) == len(cores)
