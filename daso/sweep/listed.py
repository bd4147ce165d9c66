"""The runs of an output folder as a table: what a line says of one, and what there is room for."""

import time
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from rich.table import Table

from daso.errors import UserError
from daso.outputs.naming import PAPER_RECIPE, dataset_name, imbalance_name, method_name, recipe_name
from daso.outputs.rundir import RunDir
from daso.track.jsonl import tail
from daso.track.progress import reached

RESULTS = ("test/top1_median20", "test/bacc")
PERCENT = 100
NAMES = ("key", "state", "method", "imbalance", "differs")
HEADS = {"dataset": "data set"}
SHORTEST = 16  # letters that are left of what differs
SHORT = {"test/top1_median20": "median20"}  # heads of columns of a narrow screen
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def describe(
    run: RunDir, metrics: Sequence[str] = RESULTS, config: Mapping[str, Any] | None = None, differs: str = ""
) -> dict[str, Any]:
    """What a table says about a run: setting, state, how far it is, and these of its numbers (None where unknown).

    Args:
        run: the run.
        metrics: the numbers.
        config: its configuration, where it is read already.
        differs: what tells it from runs of its name.
    """
    config = config or run.config() or {}
    results = run.numbers() or {}
    step, state = results.get("steps"), run.state()
    if step is None:  # not finished
        step = reached(run, state)
        results = so_far(run, step)
    files = [path for path in (run.resolved, run.metrics, run.checkpoint, run.summary) if path.exists()] or [run.path]
    touched = max(path.stat().st_mtime for path in files)
    about = {
        "key": run.key,
        "state": state.value,
        "reason": run.reason(),
        "dataset": named(dataset_name, config.get("dataset")),
        "method": named(method_name, config),
        "recipe": named(recipe_name, config),
        "imbalance": named(imbalance_name, config.get("imb")),
        "seed": config.get("seed"),
        "differs": differs,
        "step": step,
        "steps": run.about().get("steps", get(config, "train", "steps")),
    }
    age = {"age_seconds": round(time.time() - touched, 1)}
    return about | {name: results.get(name) for name in metrics if name not in about} | age


def so_far(run: RunDir, step: int) -> dict[str, Any]:
    """The newest numbers of an unfinished run, without those behind its step, which it will make again."""
    return {name: value for row in tail(run.metrics) if row["step"] <= step for name, value in row.items()}


def named(name: Callable[[Any], str], part: Any) -> str | None:
    """What people call a run, or None where a configuration of another version has not what its name is made of."""
    try:
        return name(part)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def refuse_unknown(metrics: Sequence[str], described: Sequence[Mapping[str, Any]], runs: Sequence[RunDir]) -> None:
    """Refuse a number that no run has and that is written much like some that they have.

    Raises:
        UserError: such a number.
    """
    for name in (name for name in metrics if name not in RESULTS):
        if not described or any(row[name] is not None for row in described):
            continue
        there = sorted({other for run in runs for other in run.numbers() or {} if "/" in other})
        near = [other for other in there if other.endswith(f"/{name}")] or get_close_matches(name, there, 1, 0.8)
        if near:
            right = f"no run has it; did you mean {' or '.join(near[:3])}?"
            raise UserError(f"--metrics {name} is not possible: {right}")


def cells(row: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, str]:
    """What the columns of a list hold of a run."""
    about = {
        HEADS.get(name, name): str(row[name] or "?") for name in ("key", "state", "dataset", "method", "imbalance")
    }
    if row["recipe"] not in (None, PAPER_RECIPE):
        about["method"] += f" recipe={row['recipe']}"
    about |= {"seed": str(row["seed"]), "differs": row["differs"], "step": f"{row['step']}/{row['steps'] or '?'}"}
    return about | {name: number(row[name]) for name in metrics} | {"age": age(row["age_seconds"])}


def fitting(rows: Sequence[dict[str, str]], metrics: Sequence[str], width: int) -> tuple[Table, list[str]]:
    """A line a run, if that can be: columns that can be missed go first, then most of a key's letters, the end of what
    differs, and what else there is room for without.

    Returns:
        The table, and the columns that it has no room for.
    """
    heads = {name: name for name in rows[0]}

    def over() -> int:
        return _wide(rows, heads) - width

    def leave_out(*names: str) -> None:
        for name in names:
            if name in heads and over() > 0:
                heads.pop(name)
                heads.update({name: SHORT.get(name, name) for name in heads})

    dataset = HEADS["dataset"]
    leave_out("age", *metrics[1:], *[dataset] * (len({row[dataset] for row in rows}) == 1))
    if over() > 0:
        rows = [row | {"key": row["key"][:6]} for row in rows]
    if over() > 0 and "differs" in heads:
        longest = max(len(row["differs"]) for row in rows)
        rows = [row | {"differs": _cut(row["differs"], max(longest - over(), SHORTEST))} for row in rows]
    leave_out("step", dataset)
    table = Table(box=None, header_style="bold")
    for name, head in heads.items():
        table.add_column(head, justify="left" if name in (*HEADS.values(), *NAMES) else "right", overflow="fold")
    for row in rows:
        table.add_row(*(row[name] for name in heads))
    return table, [name for name in rows[0] if name not in heads]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _wide(rows: Sequence[Mapping[str, str]], heads: Mapping[str, str]) -> int:
    return sum(max(len(text) for text in (head, *(row[name] for row in rows))) + 2 for name, head in heads.items())


def get(config: Mapping[str, Any], *keys: str) -> Any:
    """What stands under keys within each other; None where nothing does."""
    value: Any = config
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def number(value: Any) -> str:
    """A number as tables have it; a dash for none."""
    if value is None:
        return "-"
    if isinstance(value, float) and value.is_integer() and abs(value) > PERCENT:  # a count, such as of bytes
        return str(int(value))
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def age(seconds: float) -> str:
    """How long ago, in the largest unit: `3h`."""
    for unit, size in reversed(UNITS.items()):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return "0s"
