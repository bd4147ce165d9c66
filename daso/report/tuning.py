"""A study's tables and figures, in a folder and in MLflow. Takes an Optuna study; Optuna is imported where needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from daso.outputs.naming import STUDY
from daso.schema import TrackConfig
from daso.track.jsonl import TIME
from daso.track.mlflow import connect, points, resolve_uri, sentences
from daso.track.sweeps import SWEEP, SWEEP_NAME, parent_run

if TYPE_CHECKING:
    import optuna

VALUE = "tune/value"  # the metric of a trial's value; its step is the trial's number
DPI = 150
IMPORTANCE = "importance.png"
EQUAL = "all trials have the same value, so no parameter decides anything yet"


def write(study: "optuna.Study", folder: Path) -> list[Path]:
    """Write `best.yaml`, `trials.csv`, `history.png` and, once values differ, `importance.png`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    best, trials = folder / "best.yaml", folder / "trials.csv"
    found = study.best_trial
    best.write_text(yaml.safe_dump({"trial": found.number, "value": found.value, "params": found.params}))
    study.trials_dataframe(("number", "state", "value", "params", "user_attrs", "duration")).to_csv(trials, index=False)
    return [best, trials, *figures(study, folder)]


def figures(study: "optuna.Study", folder: Path) -> list[Path]:
    """Draw the values of the trials in their order, and which parameter they depend on most."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    done = {trial.number: trial.value for trial in study.trials if trial.value is not None}
    history, importance = folder / "history.png", folder / IMPORTANCE
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    numbers, values = list(done), list(done.values())
    axes.plot(numbers, values, "o", color="#1f77b4", label="trial")
    highest = [max(values[: place + 1]) for place in range(len(values))]
    axes.step(numbers, highest, where="post", color="#d95f02", label="best so far")
    failed = [trial.number for trial in study.trials if trial.state.name == "FAIL"]
    if failed:
        axes.plot(failed, [min(values)] * len(failed), "x", color="gray", label="failed or stopped")
    axes.set(xlabel="trial", ylabel="validation accuracy, mean over seeds (%)", title=f"Study {study.study_name}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    figure.savefig(history, dpi=DPI)
    shares = importances(study) if len(set(values)) > 1 else {}
    if not shares:
        return [history]
    figure = Figure(figsize=(7, 1 + 0.5 * len(shares)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(shares), list(shares.values()), color="#1f77b4")
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.invert_yaxis()
    axes.set(xlabel="importance (share of the decrease in impurity)", xlim=(0, 1.1))
    figure.savefig(importance, dpi=DPI)
    return [history, importance]


def importances(study: "optuna.Study") -> dict[str, float]:
    """How much each parameter decides, from a random forest over the trials; the shares sum to 1, largest first."""
    from optuna.importance import MeanDecreaseImpurityImportanceEvaluator, get_param_importances

    return dict(get_param_importances(study, evaluator=MeanDecreaseImpurityImportanceEvaluator(seed=0)))


def log(study: "optuna.Study", files: Sequence[Path], track: TrackConfig, key: str) -> str:
    """Put a study's trials, its best values and files into the MLflow run under which its runs stand; returns its id.

    Args:
        study, files: what to log.
        track: the store and the experiment.
        key: the study's identity as a sweep.

    Raises:
        UserError: the store cannot be used.
    """
    uri = resolve_uri(track.uri)
    with sentences(uri):
        client = connect(uri)
        name = f"{STUDY}{study.study_name}"
        parent = parent_run(client, uri, track.experiment, {SWEEP: key, SWEEP_NAME: name})
        known = {point.step for point in client.get_metric_history(parent, VALUE)}
        rows = []
        for trial in study.trials:
            if trial.value is None or trial.number in known:
                continue
            stamp = trial.datetime_complete.timestamp() if trial.datetime_complete else 0.0
            numbers = {f"tune/{k}": float(v) for k, v in trial.params.items() if isinstance(v, int | float)}
            rows.append({"step": trial.number, TIME: stamp, VALUE: trial.value} | numbers)
        for part in points(rows):
            client.log_batch(parent, metrics=part)
        for file in files:
            client.log_artifact(parent, str(file), "study")
        client.set_tag(parent, "runs", str(sum(len(trial.user_attrs.get("runs", ())) for trial in study.trials)))
        best = study.best_trial
        client.set_tag(parent, "best", f"trial {best.number}: {best.value:.2f} with {best.params}")
    return parent
