"""A grid of the paper's runs: what a sweep is told. No run knows of it."""

from dataclasses import dataclass
from typing import Any


@dataclass
class SweepConfig:
    """The part of a paper table that a sweep trains; refused by name without a table."""

    table: str = ""
    dataset: str = ""  # an option of the group dataset; empty: all of the table
    rows: Any = ""  # patterns for algorithms or printed names of rows, such as fixmatch*,usadtm; empty: all
