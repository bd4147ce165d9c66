"""What of the journal a tracker is sent: enough to follow and compare runs by, not the thousands of numbers of a row.

The journal keeps everything. A tracker that stored all of it would take a hundred times as long to write and to open.
"""

import math
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from daso.track.jsonl import TIME, Row

CURVES = 100  # points, about, of a curve that is no headline
HEADLINES = frozenset(
    [
        *("top1", "top1_median20", "top1_la", "top1_la_median20", "bacc", "gm", "many", "medium", "few"),
        *("recall", "precision", "coverage", "imbalance"),
    ]
)
"""Last parts of names whose values are sent at every evaluation, of held-out sets and of the pseudo-labels in use."""

REPORTED = "top1_median20"
FIRST = "headline"
"""What the few names begin with that a comparison begins with: trackers sort groups of metrics by their names."""

KEYS = ("event", "step", TIME)


class Selection(NamedTuple):
    """Which values of which rows: headlines of each evaluation, other curves thinned, values per class not at all.

    A row is judged by itself, so that what was sent of a part of the journal follows from that part. What was held back
    of the newest rows is sent when the run ends, see `rest`.
    """

    steps: int  # of the whole run
    periods: Mapping[str, int]  # steps between two rows of an event
    classes: bool = False  # whether values per class are sent when the run ends
    reports: str = REPORTED  # the number that is compared, without its set

    @classmethod
    def of(cls, config: Mapping[str, Any], steps: int | None = None) -> "Selection":
        """Of the resolved configuration of a run, which trains `steps` of its steps itself."""
        train = config.get("train", {})
        periods = {event: train.get(f"{name}_every", 1) for event, name in (("eval", "eval"), ("train", "log"))}
        classes = bool(config.get("track", {}).get("per_class", False))
        return cls(steps or train.get("steps", 1), periods, classes, config.get("recipe", {}).get("reports", REPORTED))

    def now(self, row: Row) -> Row:
        """What is sent of a row once it is written."""
        whole = self._is_due(row)
        sent = _part(row, lambda name: not per_class(name) and (whole or _is_headline(name)))
        return sent | {f"{FIRST}/{name}": row[source] for name, source in self._first().items() if source in row}

    def rest(self, row: Row) -> Row:
        """What `now` leaves of it, of the values per class only where they are asked for."""
        sent = self.now(row)
        return _part(row, lambda name: name not in sent and (self.classes or not per_class(name)))

    def _first(self) -> dict[str, str]:
        """The numbers that a comparison begins with, and what they are in the journal."""
        return {
            self.reports: f"test/{self.reports}",
            "bacc": "test/bacc",
            "few": "test/few",
            "pl_recall": "pl/final/recall",
        }

    def _is_due(self, row: Row) -> bool:
        period = self.periods.get(row["event"])
        if period is None:
            return True
        stride = -(-self.steps // (period * CURVES))
        return bool(row["step"] // period % stride == 0) or row["step"] == self.steps


def per_class(name: str) -> bool:
    """Whether a metric is the value of one class: its name ends with the class, as `test/class/9`."""
    return name.rpartition("/")[2].isdigit()


class PerClass:
    """Collects the values per class of every evaluation: [E,C] for each metric, such as `test/class`; E evaluations."""

    def __init__(self) -> None:
        self._steps = array("q")
        self._columns: dict[str, array[float]] = {}

    def add(self, row: Row) -> None:
        """Take what a row of the journal has of them."""
        if row["event"] != "eval":
            return
        missing = len(self._steps)
        self._steps.append(row["step"])
        for name, value in row.items():
            if per_class(name):
                column = self._columns.setdefault(name, array("d"))
                column.extend([math.nan] * (missing - len(column)))
                column.append(math.nan if value is None else value)

    def save(self, path: Path) -> bool:
        """Write them as `.npz`, beside their `step` [E]; nan where a row had no value.

        Returns:
            Whether there are any; else no file is written.
        """
        import numpy as np

        tables: dict[str, np.ndarray] = {}
        for metric, classes in self._metrics().items():
            columns = [self._columns.get(f"{metric}/{k}", array("d")) for k in range(classes)]
            tables[metric] = np.full((len(self._steps), classes), np.nan)
            for k, column in enumerate(columns):
                tables[metric][: len(column), k] = column
        if tables:
            np.savez_compressed(path, allow_pickle=False, step=np.asarray(self._steps), **tables)
        return bool(tables)

    def _metrics(self) -> dict[str, int]:
        """The number of classes of each metric."""
        found: dict[str, int] = {}
        for name in self._columns:
            metric, _, number = name.rpartition("/")
            found[metric] = max(found.get(metric, 0), int(number) + 1)
        return found


def _is_headline(name: str) -> bool:
    kind, _, rest = name.partition("/")
    return (kind in ("valid", "test") or name.startswith("pl/final/")) and rest.rpartition("/")[2] in HEADLINES


def _part(row: Row, keep: Callable[[str], bool]) -> Row:
    return {name: value for name, value in row.items() if name in KEYS or keep(name)}
