"""A search for good values: what a study over many runs is told. No run knows of it."""

from dataclasses import dataclass, field

from daso.schema.base import require


@dataclass
class TuneConfig:
    """A study under `hydra/sweeper=study`; refused by name where nothing reads it."""

    study: str = "tune"  # its name in the storage: the same name continues it
    storage: str = ""  # an SQLAlchemy URL; empty: studies.db in out_root
    n_trials: int = 30  # completed trials in all, over any number of starts
    seeds: list[int] = field(default_factory=lambda: [0])  # runs of a trial; their mean is its value

    def __post_init__(self) -> None:
        require(self.study != "", "tune.study", self.study, "a name")
        require(self.n_trials >= 1, "tune.n_trials", self.n_trials, "1 or more")
        different = len(self.seeds) == len(set(self.seeds)) >= 1
        require(different, "tune.seeds", self.seeds, "one or more different seeds")
        for seed in self.seeds:
            require(0 <= seed < 2**32, "tune.seeds", self.seeds, "whole numbers from 0 to 4294967295")
