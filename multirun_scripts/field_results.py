#!/usr/bin/env python
"""Keep the finished runs of `field_fashion_mnist.sh` in docs/results/field_fashion_mnist.csv, and print their table.

    python multirun_scripts/field_results.py outputs      # add what has finished there
    python multirun_scripts/field_results.py              # the table of docs/results.md, from the file alone

A row a run; runs of several machines may be added one after the other. A run that is in the file already is replaced.
"""

import csv
import itertools
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from daso.outputs.rundir import RunState
from daso.report.names import paper_name
from daso.runs import all_runs, describe

FILE = Path(__file__).resolve().parents[1] / "docs/results/field_fashion_mnist.csv"
ABOUT = ("key", "method", "imbalance", "seed", "steps")
METRICS = ("test/bacc", "test/few", "test/top1_median20", "seconds")
SHOWN = ("test/bacc", "test/top1_median20")
SHAPES = {"N1=500 gl=100 gu=100": "long-tailed", "N1=500 gl=100 gu=1": "uniform", "N1=500 gl=100 gu=1/100": "reversed"}
ALONE = "supervised"  # what is trained without unlabeled images stands in every column
Row = dict[str, str]


def finished(root: Path) -> list[Row]:
    """The finished runs below `root`, as rows of the file."""
    found = [describe(run, METRICS) for run in all_runs(root)]
    names = (*ABOUT, *METRICS)
    done = (run for run in found if run["state"] == RunState.done.value and "estimate" not in run["method"])
    return [{name: f"{run[name]:.2f}" if name in METRICS else str(run[name]) for name in names} for run in done]


def kept() -> list[Row]:
    """The rows of the file."""
    if not FILE.exists():
        return []
    with FILE.open(newline="") as file:
        return list(csv.DictReader(file))


def keep(rows: Iterable[Row]) -> None:
    """Write the rows, in an order of their own."""
    ordered = sorted(rows, key=lambda row: (row["method"], list(SHAPES).index(row["imbalance"]), int(row["seed"])))
    FILE.parent.mkdir(exist_ok=True)
    with FILE.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*ABOUT, *METRICS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(ordered)


def table(rows: Sequence[Row]) -> str:
    """Markdown: a row a method, best first by its balanced accuracy over the columns; mean ± sample standard deviation,
    and of how many seeds where they are not three.
    """
    samples: dict[str, dict[tuple[str, str], list[float]]] = {}
    for row, metric in itertools.product(rows, SHOWN):
        for shape in SHAPES if row["method"].startswith(ALONE) else [row["imbalance"]]:
            samples.setdefault(row["method"], {}).setdefault((metric, shape), []).append(float(row[metric]))

    def overall(method: str) -> float:
        return statistics.fmean(statistics.fmean(v) for (name, _), v in samples[method].items() if name in SHOWN[:1])

    columns = list(itertools.product(SHOWN, SHAPES))
    lines = [f"| | {' | '.join(SHAPES[shape] for _, shape in columns)} |", "|---" * (1 + len(columns)) + "|"]
    for method in sorted(samples, key=overall, reverse=True):
        cells = [_cell(samples[method].get(column, [])) for column in columns]
        lines.append(f"| {paper_name(method)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "—"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}" + (f" ({len(values)})" if len(values) != 3 else "")


def main(roots: Sequence[str]) -> None:
    """Add the finished runs of some folders to the file; print its table."""
    rows = {row["key"]: row for row in kept()}
    for root in roots:
        rows |= {row["key"]: row for row in finished(Path(root))}
    keep(rows.values())
    print(table(list(rows.values())))


if __name__ == "__main__":
    main(sys.argv[1:])
