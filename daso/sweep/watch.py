"""Sweeps as they are seen from any shell: their jobs, planned ones included. Reads small files; imports no torch."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from daso.outputs.rundir import RunDir, RunState, runs_in
from daso.sweep.session import FAILED, FINISHED, REFUSED, STOPPED, End, Session
from daso.track.console import duration
from daso.track.jsonl import pace, tail
from daso.track.progress import first_row, going_on_from, reached
from daso.track.terminal import print_line, print_table, terminal

RESULTS = ("top1_median20", "bacc")
RUNNING, PLANNED, BEFORE = "running", "planned", "finished before"
ORDER = (RUNNING, FAILED, REFUSED, STOPPED, PLANNED, FINISHED, BEFORE)
STYLES = {RUNNING: "green", FAILED: "red", REFUSED: "red", STOPPED: "yellow", PLANNED: "dim"}
UNNOTED = {RunState.done: FINISHED, RunState.failed: FAILED, RunState.partial: STOPPED}
AROUND = 3  # lines of a sweep that are not jobs: its name, the heads of the columns, what there is more
LAST = 5  # jobs of each sweep in the last look, which stays on the screen
LABEL = 40  # columns of a screen that labels get before anything else does
WHY = 12  # columns below which no reason is begun
GAP = "  "
GONE = "the process that started it is gone: its command again goes on"
SHORT = {"top1_median20": "median20"}  # heads of columns of a screen
DISPENSABLE = ("steps/s", RESULTS[1], RESULTS[0], "left", "step")  # columns of a screen, what can be missed first


class Seen(NamedTuple):
    """A job as it is seen."""

    label: str
    state: str
    step: int = 0  # that it has told, or goes on from
    steps: int = 0
    speed: float = 0.0  # steps a second; 0: unknown
    results: tuple[float | None, ...] = (None,) * len(RESULTS)
    reason: str = ""
    first: int = 0  # the step that it tells of first, where it is known

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
    seen = look(root)
    if not console.is_terminal:
        for sweep in seen:
            console.print(Text(_said(sweep)), soft_wrap=True)
            print_table(_table(sweep.jobs), console)
    elif once:
        _print(console, screen(seen, console.width))
    elif _alive(seen):
        with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False, transient=True) as live:
            while _alive(seen):
                live.update(Group(*screen(seen, console.width, console.height - 1)), refresh=True)
                time.sleep(every)
                seen = look(root)
        _print(console, screen(seen, console.width, most=LAST))
    else:
        _print(console, screen(seen, console.width, console.height - 1))
    if not seen:
        print_line(f"No sweep and no run is under way in {root}: python -m daso.runs lists what is there.")
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


def screen(sweeps: Sequence[SweepSeen], width: int, height: int = sys.maxsize, most: int = sys.maxsize) -> list[Text]:
    """Lines that no screen breaks: of each sweep its name, a line a job, what runs first, and how many there are more.

    Args:
        sweeps: what is seen.
        width: columns of the screen.
        height: lines that there may be.
        most: jobs of a sweep that there may be.
    """
    lines: list[Text] = []
    for place, sweep in enumerate(sweeps):
        room = (height - len(lines)) // (len(sweeps) - place)
        lines += _block(sweep, width, max(min(room - AROUND, most), 1))
    if len(lines) > height:
        lines = [*lines[: height - 1], Text("... and more: --once lists all", "dim")]
    return lines


def fitted(text: str, width: int) -> str:
    """A text that is not wider than that: of a longer one the beginning and the end, where seeds stand."""
    if cell_len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}" if width > 1 else "…"[:width]


def _alive(sweeps: Sequence[SweepSeen]) -> bool:
    return any(sweep.alive for sweep in sweeps)


def _print(console: Console, lines: Sequence[Text]) -> None:
    for line in lines:
        console.print(line, no_wrap=True, crop=True)


def _ordered(jobs: Sequence[Seen]) -> list[Seen]:
    return sorted(jobs, key=lambda job: ORDER.index(job.state))


def _counted(jobs: Sequence[Seen]) -> str:
    counts = Counter(job.state for job in _ordered(jobs))
    return ", ".join(f"{count} {state.lower()}" for state, count in counts.items())


def _said(sweep: SweepSeen) -> str:
    return f"{sweep.name}: {_counted(sweep.jobs)}{'' if sweep.alive else f'; {GONE}'}"


def _cells(job: Seen) -> dict[str, str]:
    """What the columns of a job hold, label, state and reason aside."""
    told = f"{job.step:,}" if job.step or job.state != RUNNING else f"<{job.first:,}" if job.first else "0"
    cells = {"step": f"{told} of {job.steps:,}" if job.steps else str(job.step or "")}
    cells["steps/s"] = f"{job.speed:.3g}" if job.speed else ""
    cells |= {name: "" if value is None else f"{value:.2f}" for name, value in zip(RESULTS, job.results)}
    cells["left"] = duration(job.left) if job.state == RUNNING and job.left is not None else ""
    return cells


def _state(job: Seen) -> Text:
    return Text(job.state.lower(), STYLES.get(job.state, ""))


def _table(jobs: Sequence[Seen]) -> Table:
    table = Table("job", "state")
    for name in _cells(jobs[0]):
        table.add_column(name, justify="right")
    table.add_column("why")
    for job in _ordered(jobs):
        table.add_row(Text(job.label), _state(job), *_cells(job).values(), Text(job.reason))
    return table


def _block(sweep: SweepSeen, width: int, room: int) -> list[Text]:
    """The lines of a sweep, of which `room` are jobs."""
    counts = f": {_counted(sweep.jobs)}"
    lines = [Text(fitted(sweep.name, max(width - len(counts), WHY)) + counts, "bold")]
    if not sweep.alive:
        lines.append(Text(GONE, "yellow"))
        room = max(room - 1, 1)
    jobs = _ordered(sweep.jobs)
    lines += _rows(jobs[:room], _without_shared([job.label for job in jobs]), width) if jobs else []
    if rest := jobs[room:]:
        lines.append(Text(f"... and {_counted(rest)}: --once lists all", "dim"))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _rows(jobs: Sequence[Seen], labels: Sequence[str], width: int) -> list[Text]:
    """The heads of columns and a line a job, where a reason stands for numbers; columns that are empty, or for which
    there is no room, are left out.
    """
    rows = [_cells(job) for job in jobs]
    wide = {name: max(len(row[name]) for row in rows) for name in rows[0]}
    wide = {name: max(filled, len(SHORT.get(name, name))) for name, filled in wide.items() if filled}
    states = max(len(job.state) for job in jobs)
    longest = max(map(cell_len, [*labels[: len(jobs)], "job"]))

    def left() -> int:
        return width - sum(len(GAP) + cells for cells in (states, *wide.values()))

    for name in DISPENSABLE:
        if left() < min(longest, LABEL):
            wide.pop(name, None)
    label = min(longest, left())
    heads = [SHORT.get(name, name).rjust(cells) for name, cells in wide.items()]
    lines = [Text(GAP.join(["job".ljust(label), "state".ljust(states), *heads]).rstrip(), "bold")]
    for job, name, row in zip(jobs, labels, rows):
        shown = fitted(name, label)
        line = Text(shown + " " * (label - cell_len(shown)) + GAP).append(_state(job))
        line.pad_right(states - len(job.state))
        numbers = "".join(GAP + row[column].rjust(cells) for column, cells in wide.items())
        line.append(GAP + job.reason if job.reason and width - line.cell_len >= WHY else numbers)
        line.rstrip()
        lines.append(line)
    return lines


def _without_shared(labels: Sequence[str]) -> list[str]:
    """Labels without the first words that all of them share."""
    words = [label.split() for label in labels]
    most, shared = min(map(len, words), default=0) - 1, 0  # each keeps a word
    while len(words) > 1 and shared < most and len({each[shared] for each in words}) == 1:
        shared += 1
    return [" ".join(each[shared:]) for each in words]


def _jobs(root: Path, session: Session) -> Iterator[Seen]:
    """The jobs of a sweep, in its order."""
    shared, alive = session.shared(), session.alive()
    ends: dict[str, End] = {end.key: end for end in session.ends()}
    busy, before, steps = session.busy(), set(shared.get("before", [])), shared.get("steps", {})
    for key, label in shared.get("labels", {}).items():
        run = RunDir(root, key)
        orphan = not alive and key not in ends and run.state() is RunState.running
        if key in busy or orphan:
            yield _under_way(run, label, steps.get(key, 0))
        elif key in ends or key in before:
            state = ends[key].state if key in ends else BEFORE
            results = _results(run.numbers() or {})
            done = steps.get(key, 0) if state in (FINISHED, BEFORE) else going_on_from(run)
            yield Seen(label, state, done, steps.get(key, 0), 0.0, results, ends[key].reason if key in ends else "")
        else:  # a job of a sweep that was killed may have ended with nobody there to note it
            state = PLANNED if alive else UNNOTED.get(run.state(), PLANNED)
            results, reason = _results(run.numbers() or {}), run.reason() or "" if state == FAILED else ""
            done = steps.get(key, 0) if state == FINISHED else going_on_from(run)
            yield Seen(label, state, done, steps.get(key, 0), 0.0, results, reason)


def _under_way(run: RunDir, label: str, steps: int) -> Seen:
    step, (_, speed) = reached(run, RunState.running), pace(run.metrics)
    newest = {name: value for row in tail(run.metrics, size=1 << 12) for name, value in row.items()}
    first = 0 if step else first_row(run.config() or {})
    return Seen(label, RUNNING, step, steps, speed, _results(newest), first=first)


def _results(numbers: dict[str, float | None]) -> tuple[float | None, ...]:
    """What is known of a run's results: on the validation set where there is one, else on the test set."""
    split = "valid" if "valid/top1" in numbers else "test"
    return tuple(numbers.get(f"{split}/{name}") for name in RESULTS)
