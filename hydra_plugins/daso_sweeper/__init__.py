"""The grid sweeper of this project, found by Hydra through this folder's name."""

import sys
from collections.abc import Sequence
from math import nan

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore

from daso.callbacks import REFUSED, JobResult, SweepReport
from daso.mistakes import explain


class GridSweeper(BasicSweeper):
    """Hydra's basic sweeper, except that a job which cannot be composed is reported and the others run.

    A sweep none of whose jobs can be composed fails with the first one's error.
    """

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """The next jobs, as lists of overrides, without those that cannot be composed."""
        assert self.hydra_context is not None
        assert self.config is not None
        batch = super().get_job_batch()
        refused: dict[int, Exception] = {}
        for index, overrides in enumerate(batch):
            try:
                self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            except Exception as error:
                refused[index] = error
        if len(refused) == len(batch):
            raise refused[0]
        reports = [report for report in self.hydra_context.callbacks.callbacks if isinstance(report, SweepReport)]
        for index, mistake in refused.items():
            reason = explain(mistake, list(batch[index]))
            print(reason, file=sys.stderr)
            for report in reports:
                report.note(f"refused-{index:06d}", list(batch[index]), JobResult(nan, REFUSED, reason=reason))
        return [overrides for index, overrides in enumerate(batch) if index not in refused]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Done in `get_job_batch`, where a refusal concerns one job."""


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="grid",
    node={"_target_": f"{__name__}.{GridSweeper.__name__}", "max_batch_size": None, "params": None},
)
