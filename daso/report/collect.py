"""The runs under one or several output folders, as far as their files tell. Imports no torch."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from daso.errors import Damaged, UserError
from daso.outputs.naming import method_name
from daso.outputs.rundir import RunDir, RunState, runs_in, without_runs
from daso.report.stats import counted, listed
from daso.schema import Config
from daso.settings.identity import run_key
from daso.settings.restored import restore, unknown
from daso.track.jsonl import Row, read
from daso.track.progress import reached

LONGEST = 100  # letters of why a run failed


class Run:
    """One run: its resolved configuration, its final numbers, its curves.

    Args:
        folder: where it lies.
        config: the content of `resolved.yaml`.
    """

    def __init__(self, folder: RunDir, config: dict[str, Any]) -> None:
        self.folder = folder
        self.key = folder.key
        self.config = config

    @cached_property
    def seed(self) -> int:
        """The seed."""
        return int(self.config["seed"])

    @cached_property
    def steps(self) -> int:
        """The steps of the training."""
        return int(self.config["train"]["steps"])

    @property
    def reached(self) -> int:
        """The step that the run is at; that of the end of its training when it is done."""
        return self.steps if self.done else reached(self.folder, self.folder.state())

    @cached_property
    def settings(self) -> Config:
        """The resolved configuration as an object.

        Raises:
            UserError: this version does not know all of it.
        """
        return restore(self.config)

    @cached_property
    def identity(self) -> str:
        """The key that this version gives the run: its own, unless an older one hashed a knob that nothing reads."""
        return run_key(self.settings)

    @cached_property
    def foreign(self) -> str:
        """What this version does not know of the run, such as `algorithm=mymatch`; empty where it knows all.

        A knob that it does not know is no obstacle where the run's key says that it has no effect.
        """
        try:
            return unknown(self.config, self.settings, self.key)
        except UserError as error:
            return str(error)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The final numbers; empty while the run is not done."""
        return self.folder.numbers() or {}

    @cached_property
    def study(self) -> str:
        """The search that tried it; empty where it was asked for as it is."""
        return self.folder.study()

    @property
    def done(self) -> bool:
        """Whether the run has finished."""
        return bool(self.summary)

    @cached_property
    def evaluations(self) -> list[Row]:
        """The rows of the journal that hold an evaluation, oldest first; none of a damaged journal."""
        try:
            return [row for row in read(self.folder.metrics) if row["event"] == "eval"]
        except Damaged as damage:
            print(damage, file=sys.stderr)
            return []

    def number(self, metric: str) -> float | None:
        """A final number, or None where the run has none."""
        value = self.summary.get(metric)
        return float(value) if isinstance(value, int | float) else None

    def per_class(self, metric: str) -> list[float | None]:
        """Final numbers of all classes, such as `test/class` or `pl/final/recall/class`."""
        return [self.number(f"{metric}/{k}") for k in range(self.config["dataset"]["num_classes"])]


def known(runs: Iterable[Run]) -> list[Run]:
    """Those runs that this version knows: one of a newer version, or of a colleague's branch, does not end a report."""
    return [run for run in runs if not run.foreign]


def passed_over(runs: Iterable[Run]) -> list[str]:
    """A sentence that counts and names the other ones, if there are any."""
    others = [f"{run.key} ({run.foreign})" for run in runs if run.foreign]
    if not others:
        return []
    named = listed([*others[:5], *["others"] * (len(others) > 5)])
    return [f"Passed over: {counted(len(others), 'run')} that this version does not know, {named}."]


def collect(roots: Sequence[str | Path], must_exist: bool = True) -> list[Run]:
    """Every run below the folders, each run once: a finished copy comes before an unfinished one.

    Raises:
        UserError: a folder is not there (unless `must_exist` is False), or is a run itself.
    """
    found: dict[str, Run] = {}
    for root in (Path(root).expanduser() for root in roots):
        if not root.is_dir():
            if must_exist:
                raise UserError(_sentence(f"runs={root} is not possible: {without_runs(root)}"))
            continue
        below = list(_below(root))
        if not below and RunDir.named(root.parent, str(root.resolve())).config() is not None:
            raise UserError(_sentence(f"runs={root} is not possible: {without_runs(root)}"))
        for run in below:
            if run.key not in found or (run.done and not found[run.key].done):
                found[run.key] = run
    return sorted(found.values(), key=lambda run: run.key)


def nothing_in(roots: Sequence[str | Path]) -> str:
    """Why none of some folders holds runs, as a part of a sentence; empty where one does."""
    reasons = [without_runs(Path(root).expanduser()) for root in roots]
    return ", and ".join(reasons) if all(reasons) else ""


def unfinished(runs: Sequence[Run]) -> list[str]:
    """A sentence that counts and names those runs that are not finished, if there are any, and why some failed."""
    left = [run for run in runs if not run.done]
    if not left:
        return []
    failed = [
        f"{method_name(run.config)} of seed {run.seed} ({run.key}: {_brief(run.folder.reason() or 'no reason')})"
        for run in left
        if run.folder.state() is RunState.failed
    ]
    named = listed([*failed[:3], *["others"] * (len(failed) > 3)])
    why = f"; failed: {named}" if failed else ""
    keys = listed([*(run.key for run in left[:5]), *["others"] * (len(left) > 5)])
    return [f"Unfinished and not counted: {counted(len(left), 'run')} ({keys}){why}."]


def _brief(reason: str) -> str:
    line = reason.strip().partition("\n")[0].rstrip(".")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _below(root: Path) -> Iterator[Run]:
    for folder in runs_in(root):
        for sentence in folder.troubles():
            print(sentence, file=sys.stderr)
        config = folder.config()  # None: not a run, or one that was killed before it began, or damaged
        if config is not None and {"dataset", "imb", "algorithm", "train", "seed"} <= config.keys():
            yield Run(folder, config)
