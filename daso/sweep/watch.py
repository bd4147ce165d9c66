"""Sweeps as they are seen from any shell: their jobs, planned ones included. Reads small files; imports no torch."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from daso.outputs.rundir import RunDir, RunState, runs_in
from daso.sweep.session import FAILED, FINISHED, REFUSED, STOPPED, End, Session
from daso.track.console import duration
from daso.track.jsonl import pace, tail
from daso.track.terminal import print_table, terminal

RESULTS = ("top1_median20", "bacc")
RUNNING, PLANNED, BEFORE = "running", "planned", "finished before"
ORDER = (RUNNING, FAILED, REFUSED, STOPPED, PLANNED, FINISHED, BEFORE)
STYLES = {RUNNING: "green", FAILED: "red", REFUSED: "red", STOPPED: "yellow", PLANNED: "dim"}
UNNOTED = {RunState.done: FINISHED, RunState.failed: FAILED}
AROUND = 6  # lines of a screen that are not jobs


class Seen(NamedTuple):
    """A job as it is seen."""

    label: str
    state: str
    step: int = 0
    steps: int = 0
    speed: float = 0.0  # steps a second; 0: unknown
    results: tuple[float | None, ...] = (None,) * len(RESULTS)
    reason: str = ""

    @property
    def left(self) -> float | None:
        """Seconds until the run ends, by its last speed."""
        return (self.steps - self.step) / self.speed if self.speed and self.steps else None


class SweepSeen(NamedTuple):
    """A sweep as it is seen."""

    name: str
    alive: bool  # whether the process that started it lives
    jobs: list[Seen]


def watch(root: Path, every: float, once: bool) -> int:
    """Show the sweeps and runs under way in `root`: anew every few seconds on a terminal, once elsewhere.

    Args:
        root: the out_root of the runs.
        every: seconds between two looks.
        once: whether one look is enough; a look says all, a screen as much as it holds.

    Returns:
        0.
    """
    console = terminal()
    if once or not console.is_terminal:
        for part in parts(look(root), root):
            if isinstance(part, Table):
                print_table(part, console)
            else:
                console.print(part, soft_wrap=True)
        return 0
    try:
        with Live(console=console, auto_refresh=False, screen=False) as live:
            while True:
                seen = look(root)
                live.update(Group(*parts(seen, root, console)), refresh=True)
                if not any(sweep.alive for sweep in seen):
                    return 0
                time.sleep(every)
    except KeyboardInterrupt:
        return 0


def look(root: Path) -> list[SweepSeen]:
    """The sweeps in `root`, and as a last one the runs under way that belong to none."""
    sweeps, known = [], set()
    for session in Session.under(root):
        shared = session.shared()
        known |= shared.get("labels", {}).keys()
        sweeps.append(SweepSeen(str(shared.get("name", "a sweep")), session.alive(), list(_jobs(root, session))))
    alone = [run for run in runs_in(root) if run.key not in known and run.state() is RunState.running]
    others = [_under_way(run, str(run.about().get("name", run.key)), run.about().get("steps", 0)) for run in alone]
    return [*sweeps, *([SweepSeen("runs of no sweep", True, others)] if others else [])]


def parts(sweeps: list[SweepSeen], root: Path, console: Console | None = None) -> list[Text | Table]:
    """What is shown: a line and a table for each sweep, cut to the height of a screen where there is one."""
    if not sweeps:
        return [Text(f"No sweep and no run is under way in {root}: python -m daso.runs lists what is there.")]
    room = sys.maxsize if console is None else max(console.height // len(sweeps) - AROUND, 3)
    return [part for sweep in sweeps for part in (Text(_said(sweep), "bold"), _table(sweep, room))]


def _said(sweep: SweepSeen) -> str:
    counts = {state: sum(job.state == state for job in sweep.jobs) for state in ORDER}
    said = ", ".join(f"{count} {state.lower()}" for state, count in counts.items() if count)
    gone = "" if sweep.alive else "; the process that started it is gone: its command again goes on"
    return f"{sweep.name}: {said}{gone}"


def _table(sweep: SweepSeen, room: int) -> Table:
    jobs = sorted(sweep.jobs, key=lambda job: ORDER.index(job.state))
    more = len(jobs) - room
    note = f"and {more} more: --once lists all" if more > 0 else None
    table = Table(caption=note, caption_justify="left")
    for name in ("job", "state", "step", "steps/s", *RESULTS, "left", "why"):
        table.add_column(name, justify="left" if name in ("job", "state", "why") else "right", overflow="fold")
    for job in jobs[:room]:
        step = f"{job.step:,} of {job.steps:,}" if job.steps else str(job.step or "")
        left = duration(job.left) if job.state == RUNNING and job.left is not None else ""
        results = ["" if value is None else f"{value:.2f}" for value in job.results]
        state = Text(job.state.lower(), STYLES.get(job.state, ""))
        speed = f"{job.speed:.3g}" if job.speed else ""
        table.add_row(Text(job.label), state, step, speed, *results, left, Text(job.reason))
    return table


def _jobs(root: Path, session: Session) -> Iterator[Seen]:
    """The jobs of a sweep, in its order."""
    shared, alive = session.shared(), session.alive()
    ends: dict[str, End] = {end.key: end for end in session.ends()}
    busy, before, steps = session.busy(), set(shared.get("before", [])), shared.get("steps", {})
    for key, label in shared.get("labels", {}).items():
        run = RunDir(root, key)
        if key in busy:
            yield _under_way(run, label, steps.get(key, 0))
        elif key in ends or key in before:
            state = ends[key].state if key in ends else BEFORE
            results = _results(run.numbers() or {})
            done = steps.get(key, 0) if state in (FINISHED, BEFORE) else pace(run.metrics)[0]
            yield Seen(label, state, done, steps.get(key, 0), 0.0, results, ends[key].reason if key in ends else "")
        else:  # a job of a sweep that was killed may have ended with nobody there to note it
            state = PLANNED if alive else UNNOTED.get(run.state(), PLANNED)
            results, reason = _results(run.numbers() or {}), run.reason() or "" if state == FAILED else ""
            yield Seen(label, state, pace(run.metrics)[0], steps.get(key, 0), 0.0, results, reason)


def _under_way(run: RunDir, label: str, steps: int) -> Seen:
    step, speed = pace(run.metrics)
    newest = {name: value for row in tail(run.metrics, size=1 << 12) for name, value in row.items()}
    return Seen(label, RUNNING, step, steps, speed, _results(newest))


def _results(numbers: dict[str, float | None]) -> tuple[float | None, ...]:
    """What is known of a run's results: on the validation set where there is one, else on the test set."""
    split = "valid" if "valid/top1" in numbers else "test"
    return tuple(numbers.get(f"{split}/{name}") for name in RESULTS)
