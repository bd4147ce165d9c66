"""The published numbers, as the project's own data files hold them (`daso/published/data/`).

`published.csv`: every number of Tables 1-8 and 11-17, the averages printed in the figures, and USB's independent runs
of the same methods; `figures.csv`: curves, bars and points of the figures; `footnotes.csv`: where the paper contradicts
itself. Means and deviations are in percent, averages of pseudo-label recall and precision are fractions.
"""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parent / "data"


class Published(NamedTuple):
    """One printed number; texts as in the file."""

    table: str  # "1", or "fig2" for a number printed in a figure
    protocol: str  # "paper"; "paper ablation" (one number, runs not stated); "paper figure" (one run); "usb"
    dataset: str  # such as cifar10-lt
    n1: str
    m1: str
    gamma_l: str
    gamma_u: str
    learner: str
    rebalancer: str  # joined by +, variants in brackets
    metric: str
    mean: float
    std: float | None
    source: str


class Point(NamedTuple):
    """One point, bar or matrix cell of a published figure."""

    figure: str  # such as "fig5"
    panel: str
    setting: str
    series: str
    quantity: str
    x: str
    y: float


@cache
def numbers() -> tuple[Published, ...]:
    """Every published number, in the order of print."""
    return tuple(
        Published._make([*texts, float(mean), _number(std), source])
        for *texts, mean, std, source in _rows("published.csv")
    )


@cache
def points() -> tuple[Point, ...]:
    """Every point of the published figures."""
    return tuple(Point._make([*texts, float(y)]) for *texts, y in _rows("figures.csv"))


def footnotes(number: Published) -> tuple[str, ...]:
    """What the paper says elsewhere against a number of its own."""
    found = []
    for *where, text in _rows("footnotes.csv"):
        keys = ("table", "dataset", "n1", "gamma_l", "gamma_u", "learner", "rebalancer")
        if all(value in ("", getattr(number, key)) for key, value in zip(keys, where, strict=True)):
            found.append(text)
    return tuple(found)


@cache
def _rows(name: str) -> list[list[str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def _number(text: str) -> float | None:
    return float(text) if text else None
