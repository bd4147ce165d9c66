"""A persistent search for good values, found by Hydra through this folder's name."""

import logging
from typing import Any

from omegaconf import DictConfig

from hydra_plugins.daso_sweeper import GridSweeper

logging.getLogger("alembic").setLevel(logging.WARNING)  # of Optuna's database; talks when it is imported


class StudySweeper(GridSweeper):
    """Searches with Optuna over any number of starts; what it is told stands in `conf/hydra/sweeper/study.yaml`.

    Hydra's own Optuna sweeper cannot do this: it counts its trials anew at each start, never ends those that a killed
    start left, and cannot run several seeds a trial.

    Args:
        sampler: makes an Optuna sampler from a seed.
        n_jobs: trials that are under way at once.
        params: what to search, by key; the command line has the last word.
    """

    def __init__(self, sampler: Any, n_jobs: int, params: DictConfig | None = None) -> None:
        super().__init__({str(key): str(value) for key, value in (params or {}).items()})
        self.sampler = sampler
        self.n_jobs = n_jobs

    def sweep(self, arguments: list[str]) -> None:
        """Search until the study has its trials; `arguments` are the overrides of the command line.

        Raises:
            UserError: the setting is not one that can be searched, or not the study's.
        """
        from hydra_plugins.daso_study._search import Search  # Optuna takes a second to import

        Search(self, arguments).run()
