"""A run directory without a run, what it writes, and what MLflow shows of it."""

import time
import uuid
from collections import Counter

import yaml

from daso.outputs.files import write_json
from daso.outputs.rundir import RunDir
from daso.track.jsonl import TIME, Journal, read
from daso.track.mirror import Mirror

CONFIG = {
    "dataset": {"name": "digits", "mean": [0.5, 0.25]},
    "imb": {"n1": 20, "m1": 100, "gamma_l": 10.0, "gamma_u": 1.0},
    "algorithm": {"name": "fixmatch", "threshold": 0.95},
    "daso": {"name": "daso", "t_dist": 0.3},
    "train": {"steps": 6},
    "track": {"name": "mlflow", "uri": "", "experiment": "daso"},
    "seed": 1,
    "run_key": "k",
} | {f"knob{i}": i for i in range(150)}


def folder_of_a_run(root):
    """A run's folder as it is before the first row, of a key that nobody else has."""
    run = RunDir(root, uuid.uuid4().hex[:12])
    run.path.mkdir(parents=True)
    run.resolved.write_text(yaml.safe_dump(CONFIG))
    write_json(run.card, {"name": "a run", "tags": {"git_commit": "abc", "git_dirty": "false", "overrides": "seed=1"}})
    return run


def train(run, start, stop, shift=0.0):
    """What a run writes in the steps from `start` to `stop`."""
    journal = Journal(run.metrics)
    journal.truncate(start)
    for step in range(start + 1, stop + 1):
        journal.append("train", step, {"train/loss_cls": 1 / step, "time/steps_per_second": step + shift})
        journal.append("eval", step, {"test/top1": 10.0 * step, "test/gm": float("nan")})
    journal.close()


def warn_never(sentence):
    raise AssertionError(sentence)


def live(run, uri, status="FINISHED", artifacts=(), experiment="daso", warn=warn_never):
    live = Mirror(run, uri, experiment, warn)
    live.start()
    assert live.finish(status, artifacts)


def shown(client, run, experiment="daso"):
    """The one active MLflow run of a run directory."""
    ids = [client.get_experiment_by_name(experiment).experiment_id]
    found = [r for r in client.search_runs(ids) if r.data.tags["run_key"] == run.key]
    assert len(found) == 1
    return found[0]


def points(client, run_id):
    """(metric, step, value, milliseconds) -> how often MLflow has it."""
    names = client.get_run(run_id).data.metrics
    history = [point for name in names for point in client.get_metric_history(run_id, name)]
    return Counter((p.key, p.step, p.value, p.timestamp) for p in history)


def rows(run):
    """The same of the journal."""
    return Counter(
        (name, row["step"], value, round(row[TIME] * 1000))
        for row in read(run.metrics)
        for name, value in row.items()
        if name not in ("event", "step", TIME) and value is not None
    )


def wait_until(true, patience=10.0):
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
