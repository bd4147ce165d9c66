"""`python -m daso.runs`: list, watch, show and prune the runs of an output folder, and rebuild their mirrors.

Reads small files and the end of the journals only; imports no torch.
"""

import argparse
import csv
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from daso.errors import Flags, UserError
from daso.machine.streams import outlive_readers
from daso.outputs.naming import run_name
from daso.outputs.rundir import LATEST, RunDir, RunState, finished_last, runs_in
from daso.schema import TRACKERS
from daso.settings.apart import differing
from daso.sweep.listed import RESULTS, UNITS, age, cells, describe, fitting, get, named, number, refuse_unknown, so_far
from daso.track.console import counted
from daso.track.terminal import complain, print_line, print_table, terminal

KEYS = f"a run key or its beginning, or {LATEST} for the run finished last"
SAID = ("run_key", "status", "steps", "reports")  # of summary.json, in other words


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


def _list(args: argparse.Namespace) -> int:
    runs = all_runs(args.root)
    configs = [run.config() for run in runs]
    words = map(" ".join, _apart(runs, configs))
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
    refuse_unknown(args.metrics, described, runs)
    console = terminal()
    rows = [cells(row, args.metrics) for row in described]
    if not any(row["differs"] for row in described):
        rows = [{name: cell for name, cell in row.items() if name != "differs"} for row in rows]
    table, left_out = fitting(rows, args.metrics, console.width)
    print_table(table, console)
    if left_out:
        print_line(f"A wider terminal, or --csv, has {', '.join(left_out)} as well.")
    return 0


def _apart(runs: Sequence[RunDir], configs: Sequence[Mapping[str, Any] | None]) -> list[list[str]]:
    """What tells each run from those of its name; trials of a search, whose knobs all vary, from each other alone."""
    studies = [run.study() for run in runs]
    words: list[list[str]] = [[] for _ in runs]
    for study in dict.fromkeys(studies):
        members = [config if of == study else None for config, of in zip(configs, studies)]
        told = [f"study={study}"] if study else []
        for place, found in enumerate(differing(members)):
            words[place] += told + found if studies[place] == study else []
    return words


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
    numbers = run.numbers() or so_far(run, about["step"])
    reported = numbers.get("reports", "top1_median20")
    heads = dict.fromkeys([f"valid/{reported}", f"test/{reported}", *RESULTS])
    told = {name: number(numbers[name]) for name in heads if name in numbers}
    told |= {name: str(about[name]) for name in ("key", "state", "reason") if about[name] is not None}
    told["step"] = f"{about['step']:,}" + (f" of {about['steps']:,}" if about["steps"] else "")
    told["overrides"] = str(get(run.about(), "tags", "overrides") or "")  # of the command line, or of a sweep's job
    told |= {"folder": str(run.path), "configuration": str(run.resolved) if run.resolved.exists() else ""}
    for name, value in numbers.items():
        if name not in (*told, *SAID) and not re.search(r"/class(_la)?/|^journal_|^event$|^time/unix$", name):
            told[name] = "; ".join(map(str, value)) if isinstance(value, list) else number(value)
    return {name: value for name, value in told.items() if value}


def _title(run: RunDir, config: Mapping[str, Any] | None) -> str:
    return named(lambda known: run_name(known, run.about().get("typed", "")), config) or run.key


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
        print(f"{verb} {run.key}: {about['state']}, {age(about['age_seconds'])} old")
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
    for sentence, times in failed.items():
        if times > 1:
            print(f"daso.runs: {times} runs in all: {sentence}", file=sys.stderr)
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
