"""The sweep's own line: how many of its jobs are done, running, failed and left, and how long the rest may take."""

import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress

from daso.outputs.rundir import RunDir, RunState
from daso.sweep.graph import Job, steps_of
from daso.sweep.plan import Kind, kind_of
from daso.sweep.session import FINISHED, STOPPED, End, Session
from daso.track.console import duration
from daso.track.jsonl import pace
from daso.track.progress import reached
from daso.track.terminal import CLEAR

LOOK = 2.0  # seconds between two looks at the journals of the runs that are under way
NAME = "sweep"


class SweepLine:
    """Says how a sweep goes: a line for each job that ends, and on a terminal a live line below all others.

    It is written by the process that started the sweep, which may fork while another of its threads does so: nothing
    here holds a lock.

    Args:
        session: the sweep.
        live: whether a terminal shows it; found out by default.
    """

    def __init__(self, session: Session, live: bool | None = None) -> None:
        self._session = session
        self._live = sys.stdout.isatty() if live is None else live
        self._jobs: dict[str, Job] = {}  # by run key; of those that are none by their label
        self._all_steps: dict[str, int] = {}
        self._kinds: dict[str, Kind] = {}
        self._before, self._most = 0, 1  # jobs that were finished when it started; that ran at once
        self._open = False  # whether more jobs may come
        self._ends: dict[str, End] = {}
        self._seen: set[str] = set()  # files of the session
        self._rates: dict[Kind, list[float]] = defaultdict(list)  # seconds a step
        self._progress: dict[str, tuple[int, float]] = {}  # of runs under way: step, steps a second
        self._looked = -LOOK
        self._drawn = False

    def expect(self, jobs: Sequence[Job], before: Mapping[str, End], more: bool) -> None:
        """Learn what the sweep consists of.

        Args:
            jobs: all of it so far.
            before: how those ended that were finished when it started, by run key.
            more: whether others will come, so that nobody can say what is left.
        """
        self._jobs = {job.key or job.label: job for job in jobs}
        self._all_steps = steps_of(jobs)
        self._kinds = {job.key: kind_of(job.config) for job in jobs if job.config is not None}
        self._ends |= before
        self._before = len(before)
        self._open = more

    def tick(self) -> None:
        """Say what is new; cheap enough to be called often."""
        for end in self._session.ended_since(self._seen):
            self._ends[end.key] = end
            self._learn(end.key)
            self.clear()
            print(f"{NAME} | {self._named(end)} | {self.text()}", flush=True)
        if self._live:
            columns = shutil.get_terminal_size().columns - 1
            sys.stdout.write(f"{CLEAR}{'; '.join([self.text(), *self._under_way()])[:columns]}")
            sys.stdout.flush()
            self._drawn = True

    def clear(self) -> None:
        """Make room for other lines."""
        if self._drawn:
            sys.stdout.write(CLEAR)
            sys.stdout.flush()
            self._drawn = False

    def text(self) -> str:
        """The line, such as `done 12 (3 before), running 2, failed 1, left 129; 4h10m left`."""
        ends = [self._ends[key].state for key in self._jobs if key in self._ends]
        failed = len(ends) - ends.count(FINISHED) - ends.count(STOPPED)
        failed += sum(job.config is None for job in self._jobs.values())
        running = self._running()
        left = len(self._jobs) - ends.count(FINISHED) - failed - len(running)
        before = f" ({self._before} before)" if self._before else ""
        text = f"done {ends.count(FINISHED)}{before}, running {len(running)}, failed {failed}"
        if self._open:
            return text
        time_left = self._time_left(running) if left or running else None
        return f"{text}, left {left}" + ("" if time_left is None else f"; {duration(time_left)} left")

    def _running(self) -> list[str]:
        return sorted(self._session.busy() & self._jobs.keys() - self._ends.keys())

    def _named(self, end: End) -> str:
        job = self._jobs.get(end.key)
        result = "" if end.result is None or end.result != end.result else f" {end.result:.2f}"
        return f"{job.label if job else end.key} {end.state.lower()}{result}"

    def _under_way(self) -> list[str]:
        """What is said of each run under way, as far as it has told anything."""
        said = []
        for key in self._running():
            step, rate = self._step(key)
            done = f" {100 * step // max(self._steps(key), 1)}%" if step else ""
            said.append(self._jobs[key].label + done + (f" {rate:.3g}/s" if rate else ""))
        return said

    def _time_left(self, running: Sequence[str]) -> float | None:
        """Seconds that the rest takes with as many jobs at once as there were; None while nothing tells."""
        seconds, longest = 0.0, 0.0
        self._most = max(self._most, len(running))
        for key, job in self._jobs.items():
            if job.config is None or key in self._ends:
                continue
            step, rate = self._step(key) if key in running else (0, 0.0)
            each = 1 / rate if rate else self._pace(key)
            if each is None:
                return None
            left = max(self._steps(key) - step, 0) * each
            seconds, longest = seconds + left, max(longest, left)
        return max(seconds / self._most, longest)

    def _steps(self, key: str) -> int:
        return self._all_steps.get(key, 0)

    def _pace(self, key: str) -> float | None:
        """Seconds a step of a job that is to come: of its kind, else of all, as far as any has run."""
        rates = self._rates.get(self._kinds[key]) or [rate for found in self._rates.values() for rate in found]
        rates = rates or [1 / rate for _, rate in self._progress.values() if rate]
        return sum(rates) / len(rates) if rates else None

    def _learn(self, key: str) -> None:
        """How fast a run was that has ended."""
        job = self._jobs.get(key)
        if job is None or job.config is None or self._ends[key].state != FINISHED:
            return
        numbers = RunDir(job.config.out_root, key).numbers() or {}
        if numbers.get("steps") and numbers.get("seconds"):
            self._rates[self._kinds[key]].append(numbers["seconds"] / numbers["steps"])

    def _step(self, key: str) -> tuple[int, float]:
        """How far a run is, and how fast."""
        if time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            self._progress = {}
            for other in self._running():
                config = self._jobs[other].config
                assert config is not None, "what runs is a job"
                with suppress(OSError):
                    run = RunDir(config.out_root, other)
                    self._progress[other] = reached(run, RunState.running), pace(run.metrics)[1]
        return self._progress.get(key, (0, 0.0))
