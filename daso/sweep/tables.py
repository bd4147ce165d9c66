"""What a person sees of a sweep: the plan before it, how its jobs ended after it."""

import shlex
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from daso.credentials import mask
from daso.outputs.rundir import RunState
from daso.settings.options import called
from daso.sweep.graph import Job
from daso.sweep.grid import labels
from daso.sweep.plan import Estimate, Item, Kind, Speed, disk_bytes, estimates, kind_of, speeds, survey
from daso.sweep.session import FINISHED, STOPPED, End
from daso.track.console import duration

HOUR = 3600
RESULT = "result: top1_median20 in percent, on the validation set where there is one, else on the test set"
STATES = (RunState.done, RunState.partial, RunState.running, RunState.failed, RunState.new)
MEASURE = {"train.steps": "200", "train.eval_every": "200", "hydra.mode": "RUN"}  # whose speed the next plan finds
WIDE = 10_000  # columns, for whoever reads a file


def print_plan(jobs: Sequence[Job], at_once: int = 1) -> None:
    """Print the runs of a sweep, how far each is, and what the rest costs.

    Args:
        jobs: what was asked for, and its stages.
        at_once: jobs that run at the same time.
    """
    items = survey(jobs)
    refused = [job for job in jobs if job.config is None]
    table = Table("run", "setting", "state", "steps", title=f"Plan: {_count(len(items), 'run')}")
    for item in items:
        steps = f"{item.steps:,}" if not item.step else f"{item.step:,} of {item.steps:,}"
        table.add_row(item.config.run_key, Text(item.label), item.state.value, steps)
    for job in refused:
        table.add_row("", Text(job.label), Text("not possible", "red"), "")
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    states = Counter(item.state for item in items)
    facts.add_row("runs", f"{len(items)}: " + ", ".join(f"{states[s]} {s.value}" for s in STATES if states[s]))
    for job in refused:
        facts.add_row("not possible", Text(f"{job.label}: {job.reason}"))
    facts.add_row("steps", f"{sum(i.left for i in items):,} to train, of {sum(i.steps for i in items):,}")
    facts.add_row("disk", _disk([item for item in items if item.state is RunState.new]))
    for fact in _time(items, at_once):
        facts.add_row("time", Text(fact))
    _print(table)
    _print(facts)


def print_ends(ends: Sequence[End]) -> None:
    """Print how the jobs of a sweep ended."""
    _print(ends_table(ends))


def ends_table(ends: Sequence[End]) -> Table:
    """The jobs of a sweep, one a row; overrides that all share are left out."""
    done = sum(end.state == FINISHED for end in ends)
    title = f"{done} of {_count(len(ends), 'job')} finished"
    grid = Table(title=title, caption=RESULT if done else None, caption_justify="left")
    for column in ("run", "setting", "state", "result", "reason"):
        grid.add_column(column, overflow="fold")
    for end, varying in zip(ends, labels([end.overrides for end in ends])):
        result = "" if end.result is None or end.result != end.result else f"{end.result:.2f}"
        style = "" if end.state == FINISHED else "yellow" if end.state == STOPPED else "red"
        grid.add_row(end.key, Text(end.label or varying), Text(end.state, style), result, Text(end.reason))
    return grid


def _time(items: Sequence[Item], at_once: int) -> list[str]:
    """The hours that are left, for every device that a speed is known of, or can be estimated for; the commands that
    measure what nobody has.
    """
    if not any(item.left for item in items):
        return ["nothing to train"]
    known = speeds(items)
    guessed = estimates(items, known)
    facts = []
    for device in sorted({speed.device for found in known.values() for speed in found}):
        rates = {kind: speed for kind, found in known.items() for speed in found if speed.device == device}
        timed = [item for item in items if item.left and kind_of(item.config) in rates]
        seconds = sum(item.left * rates[kind_of(item.config)].seconds_per_step for item in timed)
        facts.append(_hours(device, seconds, len(timed), list(rates.values()), at_once))
    facts += _estimated(items, guessed, at_once)
    for kind, found in known.items():
        if not found:
            item = next(item for item in items if item.left and kind_of(item.config) == kind)
            given = dict(override.split("=", 1) for override in item.overrides if not override.startswith("plan="))
            asked = item.config.device
            gpu = asked != "cpu" and (asked != "auto" or shutil.which("nvidia-smi") is not None)
            measure = MEASURE | ({"train.compile": kind.compile[1]} if gpu and kind.compile[1] != "none" else {})
            command = shlex.join([*called(), *map(mask, map("=".join, (given | measure).items()))])
            how = "only estimated" if kind in guessed else "unknown"
            facts.append(f"{how} for {kind.learner} on {kind.model}: no run tells it yet; this does: {command}")
    return facts


def _estimated(items: Sequence[Item], guessed: Mapping[Kind, Sequence[Estimate]], at_once: int) -> list[str]:
    """The hours on GPUs that nobody timed, by the rule that they follow from: one GPU a line, or all in one."""
    spans: dict[str, list[str]] = {}
    for device in dict.fromkeys(guess.device for found in guessed.values() for guess in found):
        rates = {kind: guess for kind, found in guessed.items() for guess in found if guess.device == device}
        left = [item for item in items if item.left and kind_of(item.config) in rates]
        seconds = sum(item.left * rates[kind_of(item.config)].seconds_per_step for item in left)
        at = f" ({_span(seconds / at_once)} with {at_once} at once)" if at_once > 1 else ""
        rules = "; ".join(dict.fromkeys(guess.rule for guess in rates.values()))
        spans.setdefault(f"{_count(len(left), 'run')}, one after another ({rules})", []).append(
            f"{_span(seconds)} on {device}{at}"
        )
    return [
        f"about {', '.join(found)} for {what}: an estimate, good to a factor of two, until a run is timed there"
        for what, found in spans.items()
    ]


def _hours(device: str, seconds: float, runs: int, rates: Sequence[Speed], at_once: int) -> str:
    samples = sum(rate.runs for rate in rates)
    text = f"{_span(seconds)} on {device} for {_count(runs, 'run')}, one after another"
    text += f", {_span(seconds / at_once)} with {at_once} at once" if at_once > 1 else ""
    return f"{text} (by {_count(samples, 'run')} that took {min(r.seconds_per_step for r in rates):.3g} s a step)"


def _span(seconds: float) -> str:
    return f"{seconds / HOUR:,.1f} h" if seconds >= HOUR else duration(seconds)


def _disk(new: Sequence[Item]) -> str:
    needed = sum(disk_bytes(item.config) for item in new)
    if not new:
        return "no more than is taken already"
    root = Path(new[0].config.out_root).absolute()
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    return f"about {_size(needed)} more in {root}, where {_size(shutil.disk_usage(there).free)} are free"


def _size(octets: float) -> str:
    return f"{octets / 1e9:,.1f} GB" if octets >= 1e9 else f"{octets / 1e6:.0f} MB"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _print(table: Table) -> None:
    """Print a table, unbroken where the output is not a terminal."""
    console = Console(markup=False, emoji=False)  # what a person typed is no markup
    if console.is_terminal:
        console.print(table)
        return
    width = max(console.width, Console(width=WIDE, markup=False, emoji=False).measure(table).maximum)
    wide = Console(width=width, markup=False, emoji=False)
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())
