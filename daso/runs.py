"""`python -m daso.runs`: list, watch, show and prune the runs of an output folder, and rebuild their mirrors.

Reads small files and the end of the journals only; imports no torch.
"""

import argparse
import csv
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from daso.errors import Flags, UserError
from daso.machine.streams import outlive_readers
from daso.outputs.naming import PAPER_RECIPE, dataset_name, imbalance_name, method_name, recipe_name, run_name
from daso.outputs.rundir import LATEST, RunDir, RunState, finished_last, runs_in
from daso.schema import TRACKERS
from daso.settings.apart import differing
from daso.track.console import counted
from daso.track.jsonl import tail
from daso.track.progress import reached
from daso.track.terminal import complain, print_line, print_table, terminal

KEYS = f"a run key or its beginning, or {LATEST} for the run finished last"
RESULTS = ("test/top1_median20", "test/bacc")
PERCENT = 100
NAMES = ("key", "state", "method", "imbalance", "differs")
HEADS = {"dataset": "data set"}
SHORTEST = 16  # letters that are left of what differs
SHORT = {"test/top1_median20": "median20"}  # heads of columns of a narrow screen
SAID = ("run_key", "status", "steps", "reports")  # of summary.json, in other words
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 where something failed, 2 for a mistake."""
    outlive_readers()
    try:
        args = _parser().read(sys.argv[1:] if argv is None else argv)
        return int(args.action(args))
    except UserError as error:
        print(f"daso.runs: {error}", file=sys.stderr)
        return 2


def all_runs(root: Path) -> list[RunDir]:
    """The runs below `root`, by key.

    Raises:
        UserError: there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"--root {root} is not a folder: name the out_root of your runs.")
    return [run for run in runs_in(root) if run.state() is not RunState.new]


def find(root: Path, keys: Iterable[str]) -> list[RunDir]:
    """The runs of these keys, each of which may be shortened while it stays unique, or be `latest`, or a run's folder.

    Raises:
        UserError: a key fits no run, or more than one.
    """
    runs = all_runs(root)
    found = []
    for key in keys:
        if os.sep in key and Path(key).is_dir():
            found.append(RunDir.named(root, key))
            continue
        if key == LATEST and (last := finished_last(runs)):
            found.append(last)
            continue
        fits = [run for run in runs if run.key.startswith(key)]
        exact = [run for run in fits if run.key == key]
        if len(exact or fits) != 1:
            names = ", ".join(run.key for run in fits) or "none"
            raise UserError(f"Run key {key} must fit one run in {root}; it fits {names}.")
        found += exact or fits
    return found


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
        results = _so_far(run, step)
    files = [path for path in (run.resolved, run.metrics, run.checkpoint, run.summary) if path.exists()] or [run.path]
    touched = max(path.stat().st_mtime for path in files)
    about = {
        "key": run.key,
        "state": state.value,
        "reason": run.reason(),
        "dataset": _named(dataset_name, config.get("dataset")),
        "method": _named(method_name, config),
        "recipe": _named(recipe_name, config),
        "imbalance": _named(imbalance_name, config.get("imb")),
        "seed": config.get("seed"),
        "differs": differs,
        "step": step,
        "steps": run.about().get("steps", _get(config, "train", "steps")),
    }
    age = {"age_seconds": round(time.time() - touched, 1)}
    return about | {name: results.get(name) for name in metrics if name not in about} | age


def _so_far(run: RunDir, step: int) -> dict[str, Any]:
    """The newest numbers of an unfinished run, without those behind its step, which it will make again."""
    return {name: value for row in tail(run.metrics) if row["step"] <= step for name, value in row.items()}


def _named(name: Callable[[Any], str], part: Any) -> str | None:
    """What people call a run, or None where a configuration of another version has not what its name is made of."""
    try:
        return name(part)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _list(args: argparse.Namespace) -> int:
    runs = all_runs(args.root)
    configs = [run.config() for run in runs]
    words = map(" ".join, differing(configs))
    described = [describe(run, args.metrics, config, said) for run, config, said in zip(runs, configs, words)]
    if not args.json and not args.csv:  # the newest is seen last
        described.sort(key=lambda row: row["age_seconds"], reverse=True)
    _complain(runs)
    if args.json:
        print(json.dumps(described, indent=2))
        return 0
    if args.csv:
        writer = csv.DictWriter(sys.stdout, described[0] if described else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(described)
        return 0
    if not described:
        print(f"No run lies in {args.root}.")
        return 0
    _refuse_unknown(args.metrics, described, runs)
    console = terminal()
    rows = [_cells(row, args.metrics) for row in described]
    if not any(row["differs"] for row in described):
        rows = [{name: cell for name, cell in row.items() if name != "differs"} for row in rows]
    table, left_out = _fitting(rows, args.metrics, console.width)
    print_table(table, console)
    if left_out:
        print_line(f"A wider terminal, or --csv, has {', '.join(left_out)} as well.")
    return 0


def _refuse_unknown(metrics: Sequence[str], described: Sequence[Mapping[str, Any]], runs: Sequence[RunDir]) -> None:
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


def _cells(row: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, str]:
    """What the columns of a list hold of a run."""
    about = {
        HEADS.get(name, name): str(row[name] or "?") for name in ("key", "state", "dataset", "method", "imbalance")
    }
    if row["recipe"] not in (None, PAPER_RECIPE):
        about["method"] += f" recipe={row['recipe']}"
    about |= {"seed": str(row["seed"]), "differs": row["differs"], "step": f"{row['step']}/{row['steps'] or '?'}"}
    return about | {name: _number(row[name]) for name in metrics} | {"age": _age(row["age_seconds"])}


def _fitting(rows: Sequence[dict[str, str]], metrics: Sequence[str], width: int) -> tuple[Table, list[str]]:
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


def _show(args: argparse.Namespace) -> int:
    runs = find(args.root, args.keys)
    _complain(runs)
    for run in runs:
        print_line(_title(run, run.config()))
        table = Table.grid(padding=(0, 2))
        for name, value in _told(run).items():
            table.add_row(name, Text(value))
        print_table(table)
    return 0


def _told(run: RunDir) -> dict[str, str]:
    """All about a run by name: the numbers that are reported first, then what it is, then its other numbers."""
    about = describe(run)
    numbers = run.numbers() or _so_far(run, about["step"])
    reported = numbers.get("reports", "top1_median20")
    heads = dict.fromkeys([f"valid/{reported}", f"test/{reported}", *RESULTS])
    told = {name: _number(numbers[name]) for name in heads if name in numbers}
    told |= {name: str(about[name]) for name in ("key", "state", "reason") if about[name] is not None}
    told["step"] = f"{about['step']:,}" + (f" of {about['steps']:,}" if about["steps"] else "")
    told["overrides"] = str(_get(run.about(), "tags", "overrides") or "")  # of the command line, or of a sweep's job
    told |= {"folder": str(run.path), "configuration": str(run.resolved) if run.resolved.exists() else ""}
    for name, value in numbers.items():
        if name not in (*told, *SAID) and not re.search(r"/class(_la)?/|^journal_|^event$|^time/unix$", name):
            told[name] = "; ".join(map(str, value)) if isinstance(value, list) else _number(value)
    return {name: value for name, value in told.items() if value}


def _title(run: RunDir, config: Mapping[str, Any] | None) -> str:
    return f"{_named(run_name, config) or run.key} {run.about().get('typed', '')}".strip()


def _prune(args: argparse.Namespace) -> int:
    if not (args.keys or args.state or args.older_than is not None):
        raise UserError("prune needs to be told what to remove: run keys, --state failed, or --older-than 7d.")
    chosen = [(run, describe(run)) for run in (find(args.root, args.keys) if args.keys else all_runs(args.root))]
    chosen = [(run, about) for run, about in chosen if _matches(about, args.state, args.older_than)]
    kept = 0
    for run, about in chosen:
        running = about["state"] == RunState.running.value
        kept += running
        verb = "keeping" if running else "removing" if args.yes else "would remove"
        print(f"{verb} {run.key}: {about['state']}, {_age(about['age_seconds'])} old")
        if args.yes and not running:
            run.remove()
    if not chosen:
        print("No run fits; nothing was removed.")
    elif not args.yes:
        print(f"{counted(len(chosen) - kept, 'run')}; nothing was removed, add --yes to do it")
    return 0


def _mirror(args: argparse.Namespace) -> int:
    keys = [] if args.keys == ["all"] else args.keys
    runs = find(args.root, keys) if keys else all_runs(args.root)
    if runs:
        which = "" if keys else f", all that are in {args.root}"
        complain(f"Mirroring {counted(len(runs), 'run')}{which}; the libraries take some seconds.")
    from daso.track.trackers import rebuild, trackers_of

    wanted = args.to or (["mlflow"] if args.uri or args.experiment else [])
    failed: dict[str, int] = {}  # runs by what went wrong
    for run in runs:
        for tracker in wanted or trackers_of(run) or ["mlflow"]:
            try:
                print(rebuild(tracker, run, args.uri or "", args.experiment or ""))
            except UserError as error:
                if str(error) not in failed:
                    print(f"daso.runs: run {run.key}: {error}", file=sys.stderr)
                failed[str(error)] = failed.get(str(error), 0) + 1
    for sentence, number in failed.items():
        if number > 1:
            print(f"daso.runs: {number} runs in all: {sentence}", file=sys.stderr)
    return int(bool(failed))


def _watch(args: argparse.Namespace) -> int:
    from daso.sweep.watch import watch

    if not args.root.is_dir():
        raise UserError(f"--root {args.root} is not a folder: name the out_root of your runs.")
    return watch(args.root, args.every, args.once)


def _matches(about: Mapping[str, Any], states: Sequence[str], older_than: float | None) -> bool:
    return (not states or about["state"] in states) and about["age_seconds"] >= (older_than or 0)


def _complain(runs: Iterable[RunDir]) -> None:
    """Say which files of finished runs are damaged."""
    for run in runs:
        for sentence in run.troubles():
            print(f"daso.runs: {sentence}", file=sys.stderr)


def _get(config: Mapping[str, Any], *keys: str) -> Any:
    value: Any = config
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float) and value.is_integer() and abs(value) > PERCENT:  # a count, such as of bytes
        return str(int(value))
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _age(seconds: float) -> str:
    for unit, size in reversed(UNITS.items()):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return "0s"


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 12h or 7d")
    return float(match[1]) * UNITS[match[2]]


def _parser() -> Flags:
    parser = Flags(prog="python -m daso.runs", description=__doc__)
    parser.set_defaults(action=_list)
    _common(parser, default=Path("outputs"))
    _listing(parser, json=False, csv=False, metrics=RESULTS)
    commands = parser.add_subparsers(metavar="list | watch | show | prune | mirror")
    for name, action, text in (
        ("list", _list, "a table of all runs (the default)"),
        ("watch", _watch, "the jobs of the sweeps under way, planned ones included, as they go on"),
        ("show", _show, "everything about a run"),
        ("prune", _prune, "remove runs; says what it would do unless --yes"),
        ("mirror", _mirror, "rebuild MLflow, TensorBoard and W&B from the run folders"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(action=action)
        _common(command, default=argparse.SUPPRESS)
        if action is _list:
            _listing(command, **dict.fromkeys(("json", "csv", "metrics"), argparse.SUPPRESS))
        if action is _watch:
            command.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="between two looks")
            command.add_argument("--once", action="store_true", help="look once, at all jobs")
        if action is _show:
            command.add_argument("keys", nargs="+", metavar="KEY", help=KEYS)
        if action is _prune:
            command.add_argument("keys", nargs="*", metavar="KEY", help=KEYS)
            states = [state.value for state in RunState if state not in (RunState.new, RunState.running)]
            command.add_argument("--state", action="append", default=[], choices=states, help="only these; repeatable")
            command.add_argument("--older-than", type=_duration, metavar="AGE", help="only these, e.g. 12h or 7d")
            command.add_argument("--yes", action="store_true", help="do it")
        if action is _mirror:
            command.add_argument("keys", nargs="*", metavar="KEY", help=f"{KEYS}; all, or none, for all")
            to = "only in this one; repeatable (default: those of the run, MLflow where it has none)"
            command.add_argument("--to", action="append", choices=TRACKERS, help=to)
            command.add_argument("--uri", help="MLflow's store (default: the run's)")
            command.add_argument("--experiment", help="MLflow's experiment (default: the run's)")
    return parser


def _listing(parser: argparse.ArgumentParser, **default: Any) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", default=default["json"], help="the list as JSON")
    form.add_argument("--csv", action="store_true", default=default["csv"], help="the list as CSV")
    text = f"numbers of summary.json to list, with commas (default: {','.join(RESULTS)})"
    parser.add_argument("--metrics", type=_names, default=default["metrics"], metavar="NAMES", help=text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _common(parser: argparse.ArgumentParser, default: Any) -> None:
    parser.add_argument("--root", type=Path, default=default, help="out_root of the runs (default: outputs)")


if __name__ == "__main__":
    sys.exit(main())
